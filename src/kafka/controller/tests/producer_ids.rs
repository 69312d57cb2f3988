//! Blocks of producer ids (KIP-730).

use super::*;

fn allocate(cluster: &mut Cluster, broker: i32, epoch: i64) -> Result<(i64, i32), E> {
    let request = AllocateProducerIdsRequest::default()
        .with_broker_id(BrokerId(broker))
        .with_broker_epoch(epoch);
    let ResponseKind::AllocateProducerIds(response) = cluster.ask(request) else {
        panic!()
    };
    match response.error_code {
        0 => Ok((response.producer_id_start.0, response.producer_id_len)),
        code => Err(E(code)),
    }
}

#[test]
fn blocks_follow_each_other_and_the_log_remembers_the_next_one() {
    let mut cluster = Cluster::of_three();
    for (broker, first) in [(1, 0), (2, 1_000), (1, 2_000)] {
        let epoch = cluster.broker_epoch(broker);
        assert_eq!(allocate(&mut cluster, broker, epoch), Ok((first, 1_000)));
        assert_eq!(
            cluster.last,
            [Record::ProducerIds {
                broker: NodeId(broker),
                broker_epoch: crate::types::BrokerEpoch(epoch),
                next_producer_id: first + 1_000,
            }]
        );
    }
    assert_eq!(cluster.mirror.next_producer_id, 3_000);
    // The next controller begins with what is committed.
    let mut heir = MetadataImage::default();
    for record in cluster.mirror.to_records() {
        heir.apply(&record, 0, EPOCH, &mut MetadataDelta::default());
    }
    assert_eq!(heir.next_producer_id, 3_000);
}

#[test]
fn only_the_current_incarnation_of_a_broker_gets_a_block() {
    let mut cluster = Cluster::of_three();
    let old = cluster.broker_epoch(2);
    cluster.silence(&[2]);
    cluster.start(2, -1);
    assert_eq!(allocate(&mut cluster, 2, old), Err(E::STALE_BROKER_EPOCH));
    assert_eq!(allocate(&mut cluster, 9, 1), Err(E::STALE_BROKER_EPOCH));
    assert!(cluster.last.is_empty());
    let epoch = cluster.broker_epoch(2);
    assert_eq!(allocate(&mut cluster, 2, epoch), Ok((0, 1_000)));
}

#[test]
fn ids_that_would_not_fit_are_not_given_out() {
    let mut cluster = Cluster::of_three();
    let (offset, record) = (
        cluster.mirror.offset,
        Record::ProducerIds {
            broker: NodeId(1),
            broker_epoch: crate::types::BrokerEpoch(1),
            next_producer_id: i64::MAX - 999,
        },
    );
    let mut delta = MetadataDelta::default();
    cluster.mirror.apply(&record, offset, EPOCH, &mut delta);
    cluster.controller.image.apply(&record, offset, EPOCH, &mut delta);
    let epoch = cluster.broker_epoch(1);
    assert_eq!(allocate(&mut cluster, 1, epoch), Err(E::UNKNOWN_SERVER_ERROR));
}
