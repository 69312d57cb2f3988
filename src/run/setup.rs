//! From a scenario to the world's nodes.

use crate::cluster::{Cluster, Notes, Role};
use crate::scenario::{Controllers, Scenario, Trespass};
use crate::sockets::Driven;
use kafka::NodeId;
use kafka::client::{AdminConfig, ConsumerConfig, Endpoint, Manner, ProducerConfig};
use kafka::config::{NodeConfig, Voter};
use sim::fault;
use sim::random::{Stream, Streams};
use std::collections::BTreeMap;

/// Every listener of the simulated cluster.
const PORT: u16 = 9092;
/// The cluster id of every simulated cluster.
const CLUSTER_ID: &str = "highwater-simulated";

/// Who is who in the world: brokers, controllers of their own, clients, and last two that belong to the testbed.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Names in the order of the world's nodes.
    pub names: Vec<String>,
    /// Brokers and controllers come first.
    pub servers: usize,
    /// Of these, the brokers come first.
    pub brokers: usize,
    /// Clients follow.
    pub clients: usize,
}

impl Layout {
    /// Of this scenario.
    pub fn of(scenario: &Scenario) -> Layout {
        let mut names = scenario.node_names();
        let servers = names.len();
        let clients = scenario.client_names();
        let count = clients.len();
        names.extend(clients);
        // Creates the topics before traffic begins; reads everything back at the end.
        names.extend(["setup".to_owned(), "verify".to_owned()]);
        Layout {
            names,
            servers,
            brokers: usize::from(scenario.cluster.brokers),
            clients: count,
        }
    }

    /// The world's node of this name.
    pub fn node(&self, name: &str) -> Option<fault::NodeId> {
        self.names
            .iter()
            .position(|known| known == name)
            .map(|i| fault::NodeId(i as u16))
    }

    /// What the world says, with the names of nodes in it.
    pub fn named(&self, what: &impl std::fmt::Debug) -> String {
        let mut words = format!("{what:?}");
        for (number, name) in self.names.iter().enumerate() {
            words = words.replace(&format!("NodeId({number})"), name);
        }
        words
    }

    /// Brokers and controllers.
    pub fn server_nodes(&self) -> Vec<fault::NodeId> {
        (0..self.servers as u16).map(fault::NodeId).collect()
    }

    /// The scenario's clients.
    pub fn client_nodes(&self) -> Vec<fault::NodeId> {
        (self.servers..self.servers + self.clients)
            .map(|i| fault::NodeId(i as u16))
            .collect()
    }

    /// The testbed's administrator.
    pub fn setup(&self) -> fault::NodeId {
        fault::NodeId((self.names.len() - 2) as u16)
    }

    /// The testbed's consumer.
    pub fn verify(&self) -> fault::NodeId {
        fault::NodeId((self.names.len() - 1) as u16)
    }

    /// `node.id` of the world's server.
    pub fn node_id(&self, server: usize) -> NodeId {
        if server < self.brokers {
            NodeId(server as i32 + 1)
        } else {
            NodeId((server - self.brokers) as i32 + 101)
        }
    }

    /// The world's server with this `node.id`.
    pub fn server_of(&self, id: NodeId) -> Option<usize> {
        (0..self.servers).find(|server| self.node_id(*server) == id)
    }
}

/// Voters of the metadata quorum.
pub fn voters(scenario: &Scenario, layout: &Layout) -> Vec<Voter> {
    let servers = match scenario.cluster.controllers {
        Controllers::Combined => 0..layout.brokers.min(3),
        Controllers::Separate(_) => layout.brokers..layout.servers,
    };
    servers
        .map(|i| Voter {
            id: layout.node_id(i),
            host: layout.names[i].clone(),
            port: PORT,
        })
        .collect()
}

/// The processes of a scenario; `stream` draws what the scenario leaves to the seed.
pub fn cluster(scenario: &Scenario, layout: &Layout, notes: Notes, stream: &mut Stream) -> Cluster {
    let settings = scenario.settings();
    let voters = voters(scenario, layout);
    let mut roles: Vec<Role> = Vec::new();
    for server in 0..layout.servers {
        let node_id = layout.node_id(server);
        let is_broker = server < layout.brokers;
        let racks = &scenario.cluster.racks;
        roles.push(Role::Broker(Box::new(NodeConfig {
            node_id,
            is_broker,
            is_controller: voters.iter().any(|voter| voter.id == node_id),
            host: layout.names[server].clone(),
            port: PORT,
            rack: (is_broker && !racks.is_empty()).then(|| racks[server % racks.len()].clone()),
            voters: voters.clone(),
            cluster_id: CLUSTER_ID.to_owned(),
            settings: settings.clone(),
            rules: scenario.rules(),
        })));
    }
    let endpoint = |name: &String| Endpoint {
        host: name.clone(),
        port: PORT,
    };
    let bootstrap: Vec<Endpoint> = layout.names[..layout.brokers].iter().map(endpoint).collect();
    let mut clients = layout.names[layout.servers..].iter();
    let mut named = || clients.next().expect("as many names as clients").clone();
    for producer in &scenario.clients.producers {
        let mut config = ProducerConfig::new(&named(), bootstrap.clone());
        set_all(&producer.config, |name, value| config.set(name, value));
        if stream.chance(producer.idempotent_percent * 10_000) {
            config.settings.enable_idempotence = 1;
        }
        roles.push(Role::Producer(config));
    }
    for consumer in &scenario.clients.consumers {
        let mut config = ConsumerConfig::new(&named(), bootstrap.clone());
        set_all(&consumer.config, |name, value| config.set(name, value));
        roles.push(Role::Consumer(config));
    }
    for _ in &scenario.clients.admins {
        roles.push(Role::Admin(AdminConfig::new(&named(), bootstrap.clone())));
    }
    for stranger in &scenario.clients.strangers {
        named();
        let manner = match stranger.does {
            Trespass::Garbage => Manner::Garbage,
            Trespass::Hoard => Manner::Hoard,
            Trespass::HalfFrame => Manner::HalfFrame,
        };
        roles.push(Role::Stranger(bootstrap.clone(), manner));
    }
    roles.push(Role::Admin(AdminConfig::new(&named(), bootstrap.clone())));
    roles.push(Role::Consumer(ConsumerConfig::new(&named(), bootstrap)));
    let hosts = layout
        .names
        .iter()
        .enumerate()
        .map(|(i, name)| (name.clone(), fault::NodeId(i as u16)))
        .collect();
    Cluster::new(roles, hosts, notes)
}

/// Whether the connections of this seed's brokers are driven over byte streams; `stream` draws it.
pub fn driven(scenario: &Scenario, layout: &Layout, streams: &Streams, stream: &mut Stream) -> Option<Driven> {
    let is_driven = stream.chance(scenario.cluster.driver_percent * 10_000);
    let servers = layout.names[..layout.servers].iter();
    is_driven.then(|| Driven::new(servers.map(|name| streams.stream(&format!("driver {name}")))))
}

fn set_all(properties: &BTreeMap<String, String>, mut set: impl FnMut(&str, &str) -> Result<(), String>) {
    for (name, value) in properties {
        set(name, value).expect("validated when it was read");
    }
}
