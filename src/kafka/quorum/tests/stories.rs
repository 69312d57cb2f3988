//! Small stories, each with one point.

use super::cluster::{Cluster, config};
use super::disk::TestDisk;
use super::*;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

/// A cluster with a leader that has committed its first record.
fn elected(voters: i32, observers: i32) -> (Cluster, usize) {
    let mut cluster = Cluster::started(voters, observers, Rules::NONE, 11);
    assert!(
        cluster.run_until(20_000, |cluster| cluster.committed_end() > 0),
        "nobody was elected"
    );
    let leader = cluster.leader().expect("a leader");
    (cluster, leader)
}

/// Reads what is committed at a node, as record values.
fn values(cluster: &mut Cluster, at: usize, from: Offset) -> Vec<Bytes> {
    cluster.enter(at, |quorum, _, disk, _| {
        let bytes = quorum.read_committed(from, 1 << 20, disk).expect("committed records");
        let batches = batch::batches(&bytes).map(|found| found.expect("whole batches"));
        let data = batches.filter(|(header, _)| !header.is_control());
        data.flat_map(|(_, batch)| {
            batch::records(&batch)
                .map(|r| r.expect("a record").value.expect("a value"))
                .collect::<Vec<_>>()
        })
        .collect()
    })
}

#[test]
fn the_only_voter_elects_itself_at_once_and_commits_what_it_flushes() {
    let mut cluster = Cluster::started(1, 0, Rules::NONE, 1);
    assert!(!cluster.quorum(0).is_leader(), "its own vote is not durable yet");
    while !cluster.quorum(0).is_leader() {
        cluster.finish_sync(0);
    }
    assert_eq!(cluster.now, Nanos(0), "no timeout was needed");
    assert_eq!(
        (cluster.quorum(0).epoch(), cluster.quorum(0).epoch_start_offset()),
        (LeaderEpoch(1), Some(0))
    );
    let sent: Vec<Bytes> = ["a", "b"].map(Bytes::from).to_vec();
    let appended = cluster
        .enter(0, |q, now, disk, out| q.append(&sent, now, disk, out))
        .expect("a disk");
    assert_eq!(appended, Some((1, 2)));
    assert_eq!(cluster.quorum(0).high_watermark(), None, "nothing is flushed");
    assert!(cluster.run_until(100, |cluster| cluster.committed_end() == 3));
    assert_eq!(values(&mut cluster, 0, 0), sent);
    cluster.stop(0, true);
    cluster.start(0);
    assert!(
        cluster.run_until(100, |cluster| cluster.committed_end() == 4),
        "LeaderChange of epoch 2"
    );
    assert_eq!(cluster.quorum(0).epoch(), LeaderEpoch(2));
    assert_eq!(values(&mut cluster, 0, 0), sent);
}

#[test]
fn an_observer_follows_and_does_not_count() {
    let (mut cluster, leader) = elected(3, 1);
    cluster.append(10).expect("a leader appends");
    assert!(cluster.run_until(5_000, |cluster| cluster.quorum(3).high_watermark() == Some(2)));
    for voter in (0..3).filter(|voter| *voter != leader) {
        cluster.stop(voter, false);
    }
    let offset = cluster.append(10).expect("it has not noticed yet");
    let has_it = |cluster: &mut Cluster| cluster.quorum(3).log_end_offset() > offset;
    assert!(cluster.run_until(3_000, has_it), "nothing stops the observer");
    cluster.run_until(10_000, |_| false);
    assert_eq!(
        cluster.committed_end(),
        offset,
        "a leader and an observer are no majority of three"
    );
    assert!(!cluster.quorum(3).is_leader() && !cluster.quorum(leader).is_leader());
}

#[test]
fn a_leader_that_hears_no_majority_resigns_and_the_others_elect() {
    let (mut cluster, old) = elected(3, 0);
    let epoch = cluster.quorum(old).epoch();
    let alone = NodeId(old as i32 + 1);
    // It still speaks, but hears nobody.
    cluster.cut.extend((1..=3).map(|other| (NodeId(other), alone)));
    assert!(
        cluster.run_until(3_500, |cluster| !cluster.quorum(old).is_leader()),
        "1.5 fetch timeouts are over"
    );
    let elected = |cluster: &mut Cluster| {
        cluster
            .leader()
            .is_some_and(|at| at != old && cluster.quorum(at).epoch() > epoch)
    };
    assert!(cluster.run_until(15_000, elected));
    cluster.converge();
}

#[test]
fn who_was_away_does_not_disturb() {
    let (mut cluster, leader) = elected(3, 0);
    let epoch = cluster.quorum(leader).epoch();
    let away = NodeId(((leader + 1) % 3) as i32 + 1);
    for other in 1..=3 {
        cluster.cut.insert((away, NodeId(other)));
        cluster.cut.insert((NodeId(other), away));
    }
    cluster.run_until(20_000, |_| false);
    cluster.converge();
    assert_eq!(
        (cluster.leader(), cluster.quorum(leader).epoch()),
        (Some(leader), epoch),
        "pre-votes raise no epoch"
    );
}

#[test]
fn a_leader_in_shutdown_hands_over_without_a_timeout() {
    let (mut cluster, old) = elected(3, 0);
    cluster.converge();
    let start = cluster.now;
    cluster
        .enter(old, |q, now, disk, out| q.resign(now, disk, out))
        .expect("a disk");
    assert!(cluster.run_until(2_000, |cluster| cluster.leader().is_some_and(|at| at != old)));
    let took = cluster.now.since(start).as_ms();
    assert!(took < 1_000, "{took} ms: the others waited for their fetch timeout");
    cluster.run_until(10_000, |_| false);
    assert_ne!(cluster.leader(), Some(old));
}

#[test]
fn a_follower_too_far_behind_gets_a_snapshot_in_pieces() {
    let (mut cluster, leader) = elected(3, 1);
    let late = (leader + 1) % 3;
    cluster.converge();
    cluster.stop(late, false);
    for _ in 0..2 {
        let last = (0..10).filter_map(|_| cluster.append(30)).last().expect("appended");
        assert!(cluster.run_until(10_000, |cluster| cluster.quorum(leader).high_watermark() > Some(last)));
        cluster.snapshot(leader);
        assert!(cluster.run_until(
            10_000,
            |cluster| cluster.quorum(leader).latest_snapshot().map(|id| id.0) == Some(last + 1)
        ));
    }
    let first = cluster.quorum(leader).log().log_start_offset();
    let snapshot = cluster.quorum(leader).latest_snapshot().expect("written");
    assert!(first > 1 && first < snapshot.0, "the log starts at the older snapshot");
    cluster.start(late);
    cluster.converge();
    assert_eq!(cluster.quorum(late).latest_snapshot(), Some(snapshot));
    assert!(cluster.quorum(late).log().log_start_offset() == snapshot.0);
    let read = |cluster: &mut Cluster, at| {
        cluster
            .enter(at, |q, _, disk, _| q.read_snapshot(snapshot, disk))
            .expect("bytes")
    };
    let bytes = read(&mut cluster, late);
    assert!(bytes.len() > 200, "more than one piece");
    assert_eq!(bytes, read(&mut cluster, leader));
    let kinds: Vec<bool> = batch::batches(&bytes)
        .map(|b| b.expect("whole").0.is_control())
        .collect();
    assert_eq!(kinds, [true, false, true], "header, state, footer");
    let restarted = Note::Restarted {
        partition: METADATA_PARTITION,
        at: snapshot.0,
    };
    assert!(cluster.notes.contains(&(NodeId(late as i32 + 1), restarted)));
    assert_eq!(cluster.quorum(late).high_watermark(), Some(snapshot.0));
    // And again from its own disk.
    cluster.stop(late, true);
    cluster.start(late);
    assert_eq!(cluster.quorum(late).latest_snapshot(), Some(snapshot));
    cluster.converge();
}

#[test]
fn describe_quorum_shows_voters_and_observers() {
    let (mut cluster, leader) = elected(3, 1);
    cluster.converge();
    cluster.run_until(1_000, |_| false);
    let topic = describe_quorum_request::TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![describe_quorum_request::PartitionData::default()]);
    let request = RequestKind::DescribeQuorum(DescribeQuorumRequest::default().with_topics(vec![topic]));
    for at in 0..4 {
        let mut alone = Alone::of(&mut cluster, at);
        let Some(ResponseKind::DescribeQuorum(response)) = alone.ask(request.clone()) else {
            panic!("no answer")
        };
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.leader_id.0, leader as i32 + 1);
        if at == leader {
            let ends = |states: &[describe_quorum_response::ReplicaState]| -> Vec<(i32, i64)> {
                states
                    .iter()
                    .map(|state| (state.replica_id.0, state.log_end_offset))
                    .collect()
            };
            assert_eq!(ends(&partition.current_voters), [(1, 1), (2, 1), (3, 1)]);
            assert_eq!(ends(&partition.observers), [(4, 1)]);
            assert_eq!(partition.high_watermark, 1);
        } else {
            assert_eq!(partition.error_code, ResponseError::NotLeaderOrFollower.code());
        }
    }
}

/// One machine, without the others: a copy of a cluster's node, or a fresh one.
struct Alone {
    quorum: Quorum,
    disk: TestDisk,
    out: Outbox,
    now: Now,
    next: u64,
}

impl Alone {
    fn of(cluster: &mut Cluster, at: usize) -> Alone {
        let now = Now {
            mono: cluster.now,
            wall_ms: 0,
        };
        let node = &cluster.nodes[at];
        let quorum = node.quorum.clone().expect("running");
        Alone {
            quorum,
            disk: node.disk.clone(),
            out: Outbox::default(),
            now,
            next: 1 << 40,
        }
    }

    fn fresh() -> Alone {
        let (mut disk, mut out, now) = (TestDisk::default(), Outbox::default(), Now::default());
        let config = config(1, 3, Rules::NONE);
        let quorum = Quorum::open(&config, OpenWith::default(), Entropy(1), now, &mut disk, &mut out).expect("opens");
        Alone {
            quorum,
            disk,
            out,
            now,
            next: 1 << 40,
        }
    }

    /// The answer, if it comes at once.
    fn ask(&mut self, request: RequestKind) -> Option<ResponseKind> {
        let id = self.begin(&request);
        self.answer(id)
    }

    /// The answer may come later.
    fn begin(&mut self, request: &RequestKind) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.quorum
            .handle(id, request, self.now, &mut self.disk, &mut self.out)
            .expect("a disk");
        id
    }

    fn answer(&mut self, id: RequestId) -> Option<ResponseKind> {
        let at = self.out.replies.iter().position(|(replied, _)| *replied == id)?;
        Some(self.out.replies.remove(at).1)
    }

    fn finish_syncs(&mut self) {
        loop {
            let outputs = std::mem::take(&mut self.out.outputs);
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                if let crate::Output::Sync { tag, target } = output {
                    let captured = self.disk.capture(&target);
                    self.disk.make_durable(captured);
                    self.quorum
                        .on_sync_done(&tag, Ok(()), self.now, &mut self.disk, &mut self.out)
                        .expect("a disk");
                }
            }
        }
    }

    fn at_deadline(&mut self) {
        self.now.mono = self.quorum.next_deadline().expect("a deadline");
        self.quorum
            .on_deadline(self.now, &mut self.disk, &mut self.out)
            .expect("a disk");
    }
}

fn cluster_id() -> StrBytes {
    StrBytes::from_static_str("test-cluster")
}

fn vote(from: i32, epoch: i32, log: (i32, i64), pre_vote: bool) -> RequestKind {
    let id = cluster_id();
    let sender = message::Sender {
        cluster_id: &id,
        me: NodeId(from),
        epoch: LeaderEpoch(epoch),
    };
    sender.vote(NodeId(1), LeaderEpoch(log.0), log.1, pre_vote)
}

fn fetch(from: i32, epoch: i32, position: (i64, i32), wait_ms: i32) -> RequestKind {
    let id = cluster_id();
    let sender = message::Sender {
        cluster_id: &id,
        me: NodeId(from),
        epoch: LeaderEpoch(epoch),
    };
    sender.fetch(position.0, LeaderEpoch(position.1), 0, -1, wait_ms, 1 << 20)
}

fn granted(response: Option<ResponseKind>) -> (i16, bool) {
    let Some(ResponseKind::Vote(response)) = response else {
        panic!("no answer to a vote: {response:?}")
    };
    let partition = &response.topics[0].partitions[0];
    (partition.error_code, partition.vote_granted)
}

fn fetched(response: Option<ResponseKind>) -> fetch_response::PartitionData {
    let Some(ResponseKind::Fetch(mut response)) = response else {
        panic!("no answer to a fetch: {response:?}")
    };
    response.responses.remove(0).partitions.remove(0)
}

#[test]
fn a_vote_is_answered_when_it_is_durable_and_only_once_an_epoch() {
    let mut alone = Alone::fresh();
    alone.finish_syncs();
    alone.out.calls.clear();
    let first = alone.begin(&vote(2, 5, (0, 0), false));
    assert!(
        alone.answer(first).is_none() && alone.out.calls.is_empty(),
        "the vote is not durable"
    );
    let voted = Note::Voted {
        epoch: LeaderEpoch(5),
        candidate: NodeId(2),
    };
    assert!(!alone.out.notes.contains(&voted));
    alone.finish_syncs();
    assert_eq!(granted(alone.answer(first)), (0, true));
    assert!(alone.out.notes.contains(&voted));
    assert_eq!(
        granted(alone.ask(vote(3, 5, (9, 9), false))),
        (0, false),
        "another candidate of this epoch"
    );
    assert_eq!(
        granted(alone.ask(vote(2, 5, (0, 0), false))),
        (0, true),
        "the same one again"
    );
    assert_eq!(
        granted(alone.ask(vote(3, 4, (9, 9), false))),
        (ResponseError::FencedLeaderEpoch.code(), false)
    );
    // After a restart too.
    alone.disk.crash();
    let config = config(1, 3, Rules::NONE);
    alone.quorum = Quorum::open(
        &config,
        OpenWith::default(),
        Entropy(2),
        alone.now,
        &mut alone.disk,
        &mut alone.out,
    )
    .expect("opens");
    alone.finish_syncs();
    assert_eq!(
        granted(alone.ask(vote(3, 5, (9, 9), false))),
        (0, false),
        "a restart forgets no vote"
    );
    assert_eq!(granted(alone.ask(vote(2, 5, (0, 0), false))), (0, true));
}

#[test]
fn a_vote_in_a_directory_whose_name_is_not_durable_is_not_durable() {
    let mut alone = Alone::fresh();
    let is_root = |output: &crate::Output| matches!(output, crate::Output::Sync { target: crate::SyncTarget::Dir(dir), .. } if dir.is_empty());
    let (root, rest): (Vec<_>, Vec<_>) = alone.out.outputs.drain(..).partition(is_root);
    assert_eq!(root.len(), 1, "the directory is new");
    alone.out.outputs = rest;
    let first = alone.begin(&vote(2, 5, (0, 0), false));
    alone.finish_syncs();
    assert!(
        alone.answer(first).is_none(),
        "a power failure would take the vote with the directory"
    );
    alone.out.outputs = root;
    alone.finish_syncs();
    assert_eq!(granted(alone.answer(first)), (0, true));
}

#[test]
fn strangers_get_no_vote() {
    let mut alone = Alone::fresh();
    alone.finish_syncs();
    assert_eq!(
        granted(alone.ask(vote(9, 5, (0, 0), false))),
        (ResponseError::InconsistentVoterSet.code(), false)
    );
    assert_eq!(
        granted(alone.ask(vote(2, -1, (0, 0), false))),
        (ResponseError::InvalidRequest.code(), false)
    );
    let RequestKind::Vote(request) = vote(2, 5, (0, 0), false) else {
        panic!()
    };
    let other = request.with_cluster_id(Some(StrBytes::from_static_str("other")));
    let Some(ResponseKind::Vote(response)) = alone.ask(RequestKind::Vote(other)) else {
        panic!("no answer")
    };
    assert_eq!(response.error_code, ResponseError::InconsistentClusterId.code());
    assert_eq!(alone.quorum.epoch(), LeaderEpoch(0), "nothing changed");
}

#[test]
fn the_last_epoch_of_all_is_no_trap() {
    let mut alone = Alone::fresh();
    alone.finish_syncs();
    let id = RequestId(1);
    let request = vote(2, i32::MAX, (0, 0), false);
    alone
        .quorum
        .handle(id, &request, alone.now, &mut alone.disk, &mut alone.out)
        .expect("a disk");
    alone.finish_syncs();
    assert_eq!(granted(alone.answer(id)), (0, true));
    for _ in 0..10 {
        alone.at_deadline();
    }
    assert_eq!(alone.quorum.epoch(), LeaderEpoch(i32::MAX));
}

#[test]
fn a_node_in_shutdown_never_asks_for_votes() {
    let mut alone = Alone::fresh();
    alone.finish_syncs();
    while !alone
        .out
        .calls
        .iter()
        .any(|call| matches!(call.request, RequestKind::Vote(_)))
    {
        alone.at_deadline();
    }
    alone
        .quorum
        .resign(alone.now, &mut alone.disk, &mut alone.out)
        .expect("a disk");
    alone.out.calls.clear();
    while alone.now.mono < Nanos::from_ms(60_000) && alone.quorum.next_deadline().is_some() {
        alone.at_deadline();
    }
    assert!(
        !alone
            .out
            .calls
            .iter()
            .any(|call| matches!(call.request, RequestKind::Vote(_)))
    );
    assert_eq!(
        granted(alone.ask(vote(2, 0, (0, 0), true))),
        (0, true),
        "but it helps the others"
    );
}

#[test]
fn only_a_log_as_long_as_ours_gets_our_vote() {
    let (mut cluster, leader) = elected(3, 0);
    cluster.append(10);
    cluster.converge();
    let follower = (leader + 1) % 3;
    let epoch = cluster.quorum(leader).epoch().0;
    let end = cluster.quorum(follower).log_end_offset();
    let candidate = leader as i32 + 1;
    for (log, expected) in [
        ((epoch, end), true),
        ((epoch, end - 1), false),
        ((epoch - 1, end + 100), false),
        ((epoch + 1, 0), true),
        ((epoch, end + 1), true),
    ] {
        let mut alone = Alone::of(&mut cluster, follower);
        let RequestKind::Vote(request) = vote(candidate, epoch + 1, log, false) else {
            panic!()
        };
        let request = RequestKind::Vote(request.with_voter_id(BrokerId(-1)));
        let id = RequestId(1);
        alone
            .quorum
            .handle(id, &request, alone.now, &mut alone.disk, &mut alone.out)
            .expect("a disk");
        alone.finish_syncs();
        assert_eq!(
            granted(alone.answer(id)),
            (0, expected),
            "{log:?} against ({epoch}, {end})"
        );
    }
}

#[test]
fn a_pre_vote_promises_nothing_and_a_loyal_follower_refuses() {
    let mut alone = Alone::fresh();
    alone.finish_syncs();
    assert_eq!(granted(alone.ask(vote(2, 0, (0, 0), true))), (0, true));
    assert_eq!(
        granted(alone.ask(vote(3, 0, (0, 0), true))),
        (0, true),
        "as many as ask"
    );
    assert_eq!(alone.quorum.epoch(), LeaderEpoch(0));
    assert!(alone.out.outputs.is_empty(), "nothing to make durable");
    let (mut cluster, leader) = elected(3, 0);
    cluster.converge();
    let epoch = cluster.quorum(leader).epoch().0;
    for at in 0..3 {
        let from = ((at + 1) % 3) as i32 + 1;
        let RequestKind::Vote(request) = vote(from, epoch, (epoch, 100), true) else {
            panic!()
        };
        let request = RequestKind::Vote(request.with_voter_id(BrokerId(-1)));
        assert_eq!(
            granted(Alone::of(&mut cluster, at).ask(request)),
            (0, false),
            "node {at}"
        );
    }
}

#[test]
fn fetches_are_fenced_and_told_who_leads() {
    let (mut cluster, leader) = elected(3, 0);
    cluster.converge();
    let epoch = cluster.quorum(leader).epoch().0;
    let (leads, follows) = (leader, (leader + 1) % 3);
    for (at, asked, expected) in [
        (leads, epoch - 1, ResponseError::FencedLeaderEpoch),
        (leads, epoch + 1, ResponseError::UnknownLeaderEpoch),
        (follows, epoch, ResponseError::NotLeaderOrFollower),
    ] {
        let partition = fetched(Alone::of(&mut cluster, at).ask(fetch(7, asked, (0, 0), 0)));
        assert_eq!(partition.error_code, expected.code());
        assert_eq!(partition.current_leader.leader_id.0, leader as i32 + 1);
        assert_eq!(partition.current_leader.leader_epoch, epoch);
    }
    // A position that the leader's log never had.
    let partition = fetched(Alone::of(&mut cluster, leads).ask(fetch(7, epoch, (99, epoch), 500)));
    assert_eq!(
        (
            partition.error_code,
            partition.diverging_epoch.epoch,
            partition.diverging_epoch.end_offset
        ),
        (0, epoch, 1)
    );
}

#[test]
fn a_fetch_waits_for_records_for_the_high_watermark_and_not_for_ever() {
    let (mut cluster, leader) = elected(3, 0);
    cluster.converge();
    let epoch = cluster.quorum(leader).epoch().0;
    let mut alone = Alone::of(&mut cluster, leader);
    let start = alone.now.mono;
    // -1: this observer knows no high watermark, so there is news for it at once.
    assert_eq!(fetched(alone.ask(fetch(7, epoch, (1, epoch), 500))).high_watermark, 1);
    let RequestKind::Fetch(mut knowing) = fetch(7, epoch, (1, epoch), 500) else {
        panic!()
    };
    knowing.topics[0].partitions[0].high_watermark = 1;
    let knowing = RequestKind::Fetch(knowing);
    assert!(alone.ask(knowing.clone()).is_none(), "it waits");
    let waiting = RequestId(alone.next);
    let appended = alone
        .quorum
        .append(&[Bytes::from("x")], alone.now, &mut alone.disk, &mut alone.out)
        .expect("a disk");
    assert_eq!(appended, Some((1, 1)));
    let partition = fetched(alone.answer(waiting));
    assert_eq!(partition.high_watermark, 1);
    let (header, _) = batch::batches(&partition.records.expect("records"))
        .next()
        .expect("one")
        .expect("whole");
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch),
        (1, LeaderEpoch(epoch))
    );
    // Up to date in records, and now the high watermark moves: by our flush and a voter's fetch.
    let RequestKind::Fetch(mut at_end) = knowing else {
        panic!()
    };
    at_end.topics[0].partitions[0].fetch_offset = 2;
    assert!(alone.ask(RequestKind::Fetch(at_end.clone())).is_none());
    let waiting = RequestId(alone.next);
    alone.finish_syncs();
    assert!(alone.answer(waiting).is_none(), "one of three has it");
    let voter = ((leader + 1) % 3) as i32 + 1;
    let own = fetched(alone.ask(fetch(voter, epoch, (2, epoch), 500)));
    assert_eq!(own.high_watermark, 2, "it moved by this very fetch");
    let partition = fetched(alone.answer(waiting));
    assert_eq!(
        (partition.high_watermark, partition.records.map(|r| r.len())),
        (2, Some(0))
    );
    // Nothing happens for long enough.
    at_end.topics[0].partitions[0].high_watermark = 2;
    assert!(alone.ask(RequestKind::Fetch(at_end.clone())).is_none());
    let waiting = RequestId(alone.next);
    assert!(alone.ask(RequestKind::Fetch(at_end)).is_none());
    let gone = RequestId(alone.next);
    alone.quorum.on_disconnected_request(gone);
    while alone.now.mono < start.plus_ms(500) {
        assert!(alone.answer(waiting).is_none());
        alone.at_deadline();
    }
    assert_eq!(fetched(alone.answer(waiting)).high_watermark, 2);
    assert!(alone.answer(gone).is_none());
}

#[test]
fn a_log_that_is_ahead_of_the_vote_file_tells_the_epoch() {
    for voters in [1, 3] {
        let (mut cluster, leader) = elected(voters, 0);
        let epoch = cluster.quorum(leader).epoch();
        cluster
            .enter(leader, |_, _, disk, _| disk.remove("__cluster_metadata-0/quorum-state"))
            .expect("it was written");
        cluster.stop(leader, false);
        cluster.start(leader);
        // The only voter stands at once.
        let stood = i32::from(voters == 1);
        assert_eq!(cluster.quorum(leader).epoch(), LeaderEpoch(epoch.0 + stood));
    }
}

#[test]
fn a_broken_vote_file_stops_the_node() {
    let mut alone = Alone::fresh();
    alone.ask(vote(2, 5, (0, 0), false));
    alone.finish_syncs();
    let file = alone
        .disk
        .open("__cluster_metadata-0/quorum-state", false)
        .expect("written");
    let half = alone.disk.len(file) / 2;
    alone.disk.set_len(file, half).expect("open");
    let config = config(1, 3, Rules::NONE);
    let mut out = Outbox::default();
    let opened = Quorum::open(
        &config,
        OpenWith::default(),
        Entropy(2),
        alone.now,
        &mut alone.disk,
        &mut out,
    );
    assert!(matches!(opened, Err(LogError::Invalid(_))));
}
