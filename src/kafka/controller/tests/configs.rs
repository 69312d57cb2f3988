//! IncrementalAlterConfigs, and what it does to eligible replicas.

use super::*;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};

const SET: i8 = 0;
const DELETE: i8 = 1;

type Change<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, changes: &[Change<'_>]) -> AlterConfigsResource {
    let config = |(name, operation, value): &Change<'_>| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(config).collect())
}

pub(super) fn alter_all(cluster: &mut Cluster, resources: Vec<AlterConfigsResource>, validate_only: bool) -> Vec<E> {
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(resources)
        .with_validate_only(validate_only);
    let ResponseKind::IncrementalAlterConfigs(response) = cluster.ask(request) else {
        panic!()
    };
    response
        .responses
        .iter()
        .map(|response| E(response.error_code))
        .collect()
}

pub(super) fn alter(cluster: &mut Cluster, kind: i8, name: &str, changes: &[Change<'_>], validate_only: bool) -> E {
    alter_all(cluster, vec![resource(kind, name, changes)], validate_only)[0]
}

#[test]
fn properties_are_set_and_deleted() {
    let mut cluster = Cluster::of_three();
    let set = [("retention.ms", SET, Some("7")), ("segment.ms", SET, Some("8"))];
    assert_eq!(alter(&mut cluster, 2, "t", &set, true), E::NONE);
    assert_eq!(cluster.last, []);
    assert_eq!(alter(&mut cluster, 2, "t", &set, false), E::NONE);
    assert_eq!(cluster.mirror.configs["t"]["retention.ms"], "7");
    assert_eq!(alter(&mut cluster, 2, "t", &set, false), E::NONE);
    assert_eq!(cluster.last, [], "they have these values");
    assert_eq!(
        alter(&mut cluster, 2, "t", &[("retention.ms", DELETE, None)], false),
        E::NONE
    );
    assert!(!cluster.mirror.configs["t"].contains_key("retention.ms"));
    assert_eq!(
        alter(&mut cluster, 4, "", &[("log.retention.ms", SET, Some("9"))], false),
        E::NONE
    );
    assert_eq!(cluster.mirror.configs[""]["log.retention.ms"], "9");
}

#[test]
fn nonsense_is_refused_whole() {
    let mut cluster = Cluster::of_three();
    let good = ("segment.ms", SET, Some("8"));
    let refused: [(i8, &str, Change<'_>, E); 8] = [
        (2, "t", ("no.such", SET, Some("1")), E::INVALID_CONFIG),
        (2, "t", ("retention.ms", SET, Some("-2")), E::INVALID_CONFIG),
        (2, "t", ("retention.ms", SET, None), E::INVALID_REQUEST),
        (2, "t", ("retention.ms", 2, Some("1")), E::INVALID_CONFIG),
        (2, "t", ("retention.ms", 9, Some("1")), E::INVALID_REQUEST),
        (2, "t", ("segment.ms", SET, Some("9")), E::INVALID_REQUEST),
        (2, "x", ("retention.ms", SET, Some("1")), E::UNKNOWN_TOPIC_OR_PARTITION),
        (4, "1", ("retention.ms", SET, Some("1")), E::INVALID_REQUEST),
    ];
    for (kind, name, change, code) in refused {
        assert_eq!(
            alter(&mut cluster, kind, name, &[good, change], false),
            code,
            "{change:?}"
        );
        assert_eq!(cluster.last, []);
    }
    assert_eq!(alter(&mut cluster, 8, "t", &[good], false), E::INVALID_REQUEST);
    let twice = vec![
        resource(2, "t", &[good]),
        resource(2, "t", &[("retention.ms", SET, Some("1"))]),
    ];
    assert_eq!(alter_all(&mut cluster, twice, false), [E::NONE, E::INVALID_REQUEST]);
}

#[test]
fn a_lower_minimum_clears_the_elr_at_once() {
    for topic in ["t", ""] {
        let mut cluster = Cluster::of_three();
        if topic.is_empty() {
            cluster.set_config("", "min.insync.replicas", Some("2"));
            cluster.set_config("t", "min.insync.replicas", None);
            cluster.beat(1);
        }
        cluster.propose(&[1]);
        assert_eq!(cluster.view(), (1, vec![1], vec![2, 3]));
        assert_eq!(cluster.set_config(topic, "min.insync.replicas", Some("3")), E::NONE);
        assert_eq!(cluster.view(), (1, vec![1], vec![2, 3]));
        assert_eq!(cluster.set_config(topic, "min.insync.replicas", Some("1")), E::NONE);
        assert_eq!(cluster.view(), (1, vec![1], vec![]));
        assert_eq!(cluster.state().leader_epoch.0, 0);
    }
}

/// It would commit with an ISR of two, of which it hears from the answer, before it hears of the minimum of three.
#[test]
fn a_leader_that_has_not_heard_of_a_higher_minimum_gets_no_isr_below_it() {
    for topic in ["t", ""] {
        let mut cluster = Cluster::of_three();
        if topic.is_empty() {
            cluster.set_config("t", "min.insync.replicas", None);
        }
        assert_eq!(cluster.set_config(topic, "min.insync.replicas", Some("3")), E::NONE);
        for other in [2, 3] {
            cluster.beat(other);
        }
        assert_eq!(cluster.propose(&[1, 2]), E::OPERATION_NOT_ATTEMPTED);
        assert_eq!(cluster.view(), (1, vec![1, 2, 3], vec![]));
        cluster.beat(1);
        cluster.propose(&[1, 2]);
        assert_eq!(cluster.view(), (1, vec![1, 2], vec![3]));
        // The next controller has heard nothing of anybody yet; who is eligible stays so.
        cluster.fail_over();
        assert_eq!(cluster.propose(&[1]), E::OPERATION_NOT_ATTEMPTED);
        assert_eq!(cluster.view(), (1, vec![1, 2], vec![3]));
        cluster.beat(1);
        cluster.propose(&[1]);
        assert_eq!(cluster.view(), (1, vec![1], vec![2, 3]));
    }
}

#[test]
fn the_minimum_is_never_more_than_there_are_replicas() {
    let mut cluster = Cluster::of_three();
    assert_eq!(cluster.create("one", &[&[2]], &[("min.insync.replicas", "3")]), E::NONE);
    cluster.silence(&[2]);
    let state = cluster.state_of("one", 0);
    assert_eq!(
        (state.leader, ids(&state.isr), ids(&state.elr)),
        (None, vec![], vec![2])
    );
    cluster.start(2, cluster.broker_epoch(2));
    let state = cluster.state_of("one", 0);
    assert_eq!(
        (state.leader, ids(&state.isr), ids(&state.elr)),
        (Some(NodeId(2)), vec![2], vec![])
    );
}
