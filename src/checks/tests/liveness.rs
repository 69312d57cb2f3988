//! L1 to L3, L6 to L9.

use super::*;

/// Everything up, unfenced, applied, one quorum leader, one record everywhere.
fn settled() -> Story {
    let mut story = Story::begun(1);
    story.note(
        0,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(1),
            epoch_start_offset: 0,
        },
    );
    for node in 0..3 {
        story.tick();
        story.note(
            node,
            Note::BrokerRegistered {
                broker_epoch: BrokerEpoch(4),
            },
        );
        story.note(
            node,
            Note::BrokerUnfenced {
                broker_epoch: BrokerEpoch(4),
            },
        );
    }
    story.write(0, "a");
    story.polled(VERIFIER, 0, &["a"]);
    story.checks.fact(Fact::FaultsEnded { time_ns: story.time });
    story
}

fn stuck(mut story: Story, id: &str) {
    let reason = story.checks.converged(story.time).unwrap_err();
    assert!(reason.starts_with(id), "{reason}");
    story.finish();
    assert!(story.found().contains(&id), "{:?}", story.found());
}

#[test]
fn a_settled_cluster_has_converged() {
    let mut story = settled();
    assert_eq!(story.checks.converged(story.time), Ok(()));
    story.finish();
    story.silent(&["L1", "L2", "L3", "L6", "L7", "L8", "L9"]);
}

#[test]
fn nothing_is_asked_before_the_faults_end() {
    let mut story = Story::begun(1);
    story.invoke("a", -1);
    assert!(story.checks.converged(story.time).is_err());
    story.finish();
    story.silent(&[]);
}

#[test]
fn l1_no_leader_though_a_replica_lives() {
    let mut story = settled();
    story.stop(0, StopKind::Killed);
    story.note(
        1,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(2),
            epoch_start_offset: 0,
        },
    );
    stuck(story, "L1");
}

#[test]
fn l2_a_replica_is_not_in_sync_or_behind() {
    let mut missing = settled();
    missing.tick();
    missing.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 1]),
        },
    );
    stuck(missing, "L2");
    let mut behind = settled();
    behind.append(0, 1, 0, &["b"]);
    behind.copy(1, 1, 0, &["b"], false);
    stuck(behind, "L2");
}

#[test]
fn l3_a_send_without_answer() {
    let mut story = settled();
    story.invoke("b", -1);
    stuck(story, "L3");
}

#[test]
fn l6_metadata_is_not_applied() {
    let mut story = settled();
    metadata(&mut story, 0, 0, 1, "m");
    for node in [0, 1] {
        if node == 1 {
            metadata(&mut story, 1, 0, 1, "m");
        }
        story.note(
            node,
            Note::Flushed {
                partition: METADATA_PARTITION,
                to: 1,
            },
        );
    }
    story.tick();
    story.note(
        0,
        Note::QuorumCommitted {
            high_watermark: 1,
            epoch: LeaderEpoch(1),
            as_leader: true,
        },
    );
    for node in [0, 1] {
        story.tick();
        story.note(
            node,
            Note::MetadataApplied {
                offset: 1,
                image_digest: 7,
            },
        );
    }
    assert_eq!(
        story.checks.converged(story.time),
        Ok(()),
        "there is a moment for applying it"
    );
    // The moment passes without a word, too.
    story.time += 3_000_000_000;
    stuck(story, "L6");
}

#[test]
fn l7_a_proposal_without_an_answer() {
    let mut story = settled();
    let propose = |story: &mut Story, partition_epoch| {
        story.tick();
        story.note(
            0,
            Note::IsrProposed {
                partition: TP,
                isr: ids(&[0, 1, 2]),
                maximal_isr: ids(&[0, 1, 2]),
                partition_epoch: PartitionEpoch(partition_epoch),
            },
        );
    };
    // A refused proposal leaves no note; where nothing is missing, nothing is waited for.
    propose(&mut story, 0);
    story.time += 6_000_000_000;
    story.polled(CLIENT, 0, &["a"]);
    assert_eq!(story.checks.converged(story.time), Ok(()));
    story.tick();
    story.note(
        0,
        Note::IsrUpdated {
            partition: TP,
            state: state(0, 0, 1, &[0, 1]),
        },
    );
    propose(&mut story, 1);
    assert!(story.checks.converged(story.time).unwrap_err().starts_with("L2"));
    story.time += 6_000_000_000;
    story.polled(CLIENT, 0, &["a"]);
    stuck(story, "L7");
}

#[test]
fn l8_a_live_broker_is_fenced() {
    let mut story = settled();
    story.tick();
    story.note(
        2,
        Note::BrokerRegistered {
            broker_epoch: BrokerEpoch(9),
        },
    );
    stuck(story, "L8");
}

#[test]
fn l9_no_leader_or_two() {
    let mut two = settled();
    two.tick();
    two.note(
        1,
        Note::BecameQuorumLeader {
            epoch: LeaderEpoch(2),
            epoch_start_offset: 0,
        },
    );
    stuck(two, "L9");
    let mut none = settled();
    none.tick();
    none.note(0, Note::ResignedQuorumLeader { epoch: LeaderEpoch(1) });
    stuck(none, "L9");
}

#[test]
fn a_damaged_disk_excuses_a_node_that_stays_down() {
    let mut story = settled();
    assert_eq!(story.checks.convergence_excused(), None);
    story.stop(2, StopKind::Killed);
    story.damage(2, "bit_flip");
    assert!(story.checks.convergence_excused().unwrap().contains("bit_flip"));
    story.note(0, Note::ResignedQuorumLeader { epoch: LeaderEpoch(1) });
    assert!(story.checks.converged(story.time).is_err());
    story.finish();
    story.silent(&[]);
}
