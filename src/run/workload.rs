//! What the users of clients do, and when: drawn from a stream for each client.

use crate::scenario::{AdminOp, Scenario};
use bytes::Bytes;
use kafka::client::{Op, StartFrom};
use sim::random::{Stream, Streams};

/// One client's user.
#[derive(Debug)]
pub struct User {
    name: String,
    stream: Stream,
    habit: Habit,
    /// Operations begun.
    pub operations: u64,
}

#[derive(Debug)]
enum Habit {
    /// Sends to these partitions.
    Produces {
        targets: Vec<(String, i32)>,
        mean_ns: u64,
        value_bytes: usize,
    },
    /// Asks for the latest offset of one of these now and then.
    Reads { targets: Vec<(String, i32)>, every_ns: u64 },
    /// Changes things.
    Administers {
        does: Vec<AdminOp>,
        mean_ns: u64,
        topics: Vec<TopicFacts>,
        own: OwnTopic,
        brokers: u64,
    },
    /// Sends garbage.
    Trespasses { mean_ns: u64 },
}

#[derive(Clone, Debug)]
struct TopicFacts {
    name: String,
    partitions: i32,
    replication_factor: i16,
    min_insync_replicas: i64,
    flipped: bool,
    unclean: bool,
}

/// The topic that an administrator creates, grows and deletes.
#[derive(Debug, Default)]
struct OwnTopic {
    exists: bool,
    partitions: i32,
}

const SECOND_NS: u64 = 1_000_000_000;

fn partitions_of(scenario: &Scenario, names: &[String]) -> Vec<(String, i32)> {
    let topics = scenario.topics.iter().filter(|topic| names.contains(&topic.name));
    topics
        .flat_map(|topic| (0..topic.partitions).map(|index| (topic.name.clone(), index)))
        .collect()
}

/// The users of a scenario, in the order of its clients.
pub fn users(scenario: &Scenario, streams: &Streams) -> Vec<User> {
    let clients = &scenario.clients;
    let configs = scenario.topic_configs();
    let mut habits = Vec::new();
    for producer in &clients.producers {
        let targets = partitions_of(scenario, &producer.topics);
        let mean_ns = SECOND_NS.checked_div(u64::from(producer.records_per_s)).unwrap_or(0);
        habits.push(Habit::Produces {
            targets,
            mean_ns,
            value_bytes: producer.value_bytes,
        });
    }
    for consumer in &clients.consumers {
        let targets = partitions_of(scenario, &consumer.topics);
        habits.push(Habit::Reads {
            targets,
            every_ns: u64::from(consumer.list_offsets_every_ms) * 1_000_000,
        });
    }
    for admin in &clients.admins {
        let topics = scenario.topics.iter().map(|topic| TopicFacts {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            min_insync_replicas: configs[&topic.name].min_insync_replicas,
            flipped: false,
            unclean: configs[&topic.name].unclean_leader_election_enable == 1,
        });
        let mean_ns = u64::from(admin.every_ms) * 1_000_000;
        habits.push(Habit::Administers {
            does: admin.does.clone(),
            mean_ns,
            topics: topics.collect(),
            own: OwnTopic::default(),
            brokers: u64::from(scenario.cluster.brokers),
        });
    }
    for stranger in &clients.strangers {
        let mean_ns = u64::from(stranger.every_ms) * 1_000_000;
        habits.push(Habit::Trespasses { mean_ns });
    }
    let names = scenario.client_names();
    let user = |(name, habit): (String, Habit)| User {
        stream: streams.stream(&format!("workload {name}")),
        name,
        habit,
        operations: 0,
    };
    names.into_iter().zip(habits).map(user).collect()
}

impl User {
    /// Nanoseconds until it does the next thing; none if it never does anything by itself.
    pub fn pause(&mut self) -> Option<u64> {
        match &self.habit {
            Habit::Produces { mean_ns: 0, .. } | Habit::Reads { every_ns: 0, .. } => None,
            Habit::Reads { every_ns, .. } => Some(*every_ns),
            Habit::Administers { does, .. } if does.is_empty() => None,
            Habit::Produces { mean_ns, .. } | Habit::Administers { mean_ns, .. } | Habit::Trespasses { mean_ns } => {
                Some(self.stream.exponential(*mean_ns).max(1))
            }
        }
    }

    /// The stream that it draws from.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What it starts with: a consumer assigns its partitions.
    pub fn first(&self) -> Option<Op> {
        match &self.habit {
            Habit::Reads { targets, .. } => Some(Op::Assign {
                partitions: targets.clone(),
                from: StartFrom::Earliest,
            }),
            _ => None,
        }
    }

    /// A record of its own to this partition.
    pub fn send(&mut self, topic: &str, partition: i32) -> Op {
        let Habit::Produces { value_bytes, .. } = &self.habit else {
            unreachable!("only producers send")
        };
        let mut value = format!("{}-{:08}", self.name, self.operations).into_bytes();
        value.resize((*value_bytes).max(value.len()), b'.');
        self.operations += 1;
        Op::Send {
            topic: topic.to_owned(),
            partition,
            key: None,
            value: Bytes::from(value),
        }
    }

    /// The next thing it does.
    pub fn act(&mut self) -> Option<Op> {
        match &mut self.habit {
            Habit::Produces { targets, .. } => {
                let (topic, partition) = self.stream.pick(targets).clone();
                Some(self.send(&topic, partition))
            }
            Habit::Reads { targets, .. } => {
                let (topic, partition) = self.stream.pick(targets).clone();
                self.operations += 1;
                Some(Op::ListOffsets {
                    topic,
                    partition,
                    timestamp: -1,
                })
            }
            Habit::Trespasses { .. } => {
                self.operations += 1;
                Some(Op::Trespass)
            }
            Habit::Administers {
                does,
                topics,
                own,
                brokers,
                ..
            } => {
                let does = *self.stream.pick(does);
                let topic = self.stream.below(topics.len() as u64) as usize;
                let op = self.operations;
                self.operations += 1;
                match does {
                    AdminOp::Reassign => Some(reassign(op, &topics[topic], *brokers, &mut self.stream)),
                    _ => administer(does, &self.name, op, &mut topics[topic], own, &mut self.stream),
                }
            }
        }
    }
}

/// To as many brokers as before, any of them; once in four times back to where it came from.
fn reassign(op: u64, topic: &TopicFacts, brokers: u64, stream: &mut Stream) -> Op {
    let partition = stream.below(topic.partitions as u64) as i32;
    let mut replicas: Vec<i32> = Vec::new();
    while replicas.len() < usize::from(topic.replication_factor.unsigned_abs()) {
        let broker = 1 + stream.below(brokers) as i32;
        if !replicas.contains(&broker) {
            replicas.push(broker);
        }
    }
    Op::Reassign {
        op,
        topic: topic.name.clone(),
        partition,
        replicas: (!stream.chance(250_000)).then_some(replicas),
    }
}

fn administer(
    does: AdminOp,
    name: &str,
    op: u64,
    topic: &mut TopicFacts,
    own: &mut OwnTopic,
    stream: &mut Stream,
) -> Option<Op> {
    let own_name = format!("own-{name}");
    let alter = |topic: &TopicFacts, name: &str, value: String| Op::AlterConfig {
        op,
        topic: topic.name.clone(),
        name: name.to_owned(),
        value: Some(value),
    };
    Some(match does {
        AdminOp::PreferredElection => {
            let partition = stream.below(topic.partitions as u64) as i32;
            Op::ElectLeaders {
                op,
                unclean: false,
                topic: topic.name.clone(),
                partition,
            }
        }
        AdminOp::FlipMinInsyncReplicas => {
            topic.flipped = !topic.flipped;
            let value = if topic.flipped {
                stream.between(1, topic.replication_factor as u64) as i64
            } else {
                topic.min_insync_replicas
            };
            alter(topic, "min.insync.replicas", value.to_string())
        }
        AdminOp::FlipUncleanElection => {
            topic.unclean = !topic.unclean;
            alter(topic, "unclean.leader.election.enable", topic.unclean.to_string())
        }
        AdminOp::RecreateTopic => {
            own.exists = !own.exists;
            own.partitions = 1;
            if own.exists {
                let (partitions, replication_factor) = (1, topic.replication_factor);
                let (configs, assignment) = (Vec::new(), Vec::new());
                Op::CreateTopic {
                    op,
                    name: own_name,
                    partitions,
                    replication_factor,
                    configs,
                    assignment,
                }
            } else {
                Op::DeleteTopic { op, name: own_name }
            }
        }
        AdminOp::Reassign => unreachable!("needs to know the brokers"),
        AdminOp::GrowTopic => {
            if !own.exists || own.partitions >= 8 {
                return None;
            }
            own.partitions += 1;
            Op::CreatePartitions {
                op,
                name: own_name,
                count: own.partitions,
            }
        }
        AdminOp::DeleteRecords => {
            let partition = stream.below(topic.partitions as u64) as i32;
            // -1 is the high watermark; half of the time something fixed below it, which may be out of range.
            let offset = if stream.chance(500_000) {
                -1
            } else {
                stream.below(1_000) as i64
            };
            Op::DeleteRecords {
                op,
                topic: topic.name.clone(),
                partition,
                before: offset,
            }
        }
    })
}
