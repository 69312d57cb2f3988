//! From properties to what a node is told: Kafka's names, Kafka's rules, and an error in words for whatever cannot be.
//!
//! Sources: Kafka's KafkaConfig and SocketServerConfigs (validation of listeners and roles), KIP-631, KIP-853.

use super::properties::{BadProperty, Properties, Value};
use kafka::config::{NodeConfig, Settings, Voter};
use kafka::log::identity::id_text;
use kafka::rules::Rules;
use kafka::{NodeId, Uuid};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What `serve` alone stands for.
pub const ALONE: &str = "\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:9093
log.dirs=./highwater-data
";

/// Accepted because Kafka's own example files have them, for threads and buffers that this broker does not have.
const WITHOUT_EFFECT: &[&str] = &[
    "num.network.threads",
    "num.io.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "socket.send.buffer.bytes",
    "socket.receive.buffer.bytes",
    "offsets.topic.replication.factor",
    "offsets.topic.num.partitions",
    "transaction.state.log.replication.factor",
    "transaction.state.log.min.isr",
    "transaction.state.log.num.partitions",
    "share.coordinator.state.topic.replication.factor",
    "share.coordinator.state.topic.min.isr",
    "group.initial.rebalance.delay.ms",
];

/// Kafka's names in another unit: the name in the unit that we keep, and the factor.
const IN_OTHER_UNITS: &[(&str, &str, i64)] = &[
    ("log.retention.minutes", "log.retention.ms", 60_000),
    ("log.retention.hours", "log.retention.ms", 3_600_000),
    ("log.roll.hours", "log.roll.ms", 3_600_000),
];

/// Kafka's default of `connections.max.idle.ms`.
const CONNECTIONS_MAX_IDLE_MS: i64 = 600_000;

/// One entry of `listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name, as `listener.security.protocol.map` and `controller.listener.names` know it.
    pub name: String,
    /// To bind; empty means all interfaces.
    pub host: String,
    /// Port.
    pub port: u16,
    /// One of `controller.listener.names`.
    pub is_controllers: bool,
}

/// All that a process is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// For the machine.
    pub node: NodeConfig,
    /// To bind.
    pub listeners: Vec<Listener>,
    /// `log.dirs`: one.
    pub directory: PathBuf,
    /// `max.connections`.
    pub max_connections: usize,
    /// `connections.max.idle.ms`; below 0 without limit.
    pub connections_max_idle_ms: i64,
    /// `socket.request.max.bytes`.
    pub max_frame_bytes: usize,
    /// `queued.max.request.bytes`.
    pub queued_max_request_bytes: Option<i64>,
    /// `metrics.listener`: ours.
    pub metrics: Option<String>,
    /// `notes.file`: ours.
    pub notes: Option<PathBuf>,
}

impl ServeConfig {
    /// Reads all properties, or says what is wrong with the first that is.
    pub fn of(mut properties: Properties) -> Result<ServeConfig, BadProperty> {
        let p = &mut properties;
        for name in WITHOUT_EFFECT {
            p.take(name);
        }
        // A name that is wrong is why another one is missing.
        if let Some((name, value)) = p.find(|name| !is_known(name)) {
            return Err(value.bad(name, not_known(name)));
        }
        let node_id = take_number(p, "node.id", 0, i64::from(i32::MAX))?
            .ok_or_else(|| p.missing("node.id", "the number of this node, such as 1"))?;
        let node_id = NodeId(i32::try_from(node_id).expect("bounded above"));
        let (is_broker, is_controller) = roles(p)?;
        let voters = voters(p)?;
        let controllers = names(p, "controller.listener.names");
        let protocols = protocols(p)?;
        let bound = p.take("listeners");
        let mut listeners = match &bound {
            Some(value) => listeners("listeners", value)?,
            None => return Err(p.missing("listeners", "such as PLAINTEXT://127.0.0.1:9092")),
        };
        let bound = bound.expect("it was there above");
        if controllers.is_empty() {
            return Err(p.missing("controller.listener.names", "such as CONTROLLER"));
        }
        for listener in &mut listeners {
            listener.is_controllers = controllers.contains(&listener.name);
            let protocol = protocols.get(&listener.name).unwrap_or(&listener.name);
            if NOT_SERVED.contains(&protocol.as_str()) {
                let what = format!(
                    "has {}, which speaks {protocol}: only PLAINTEXT is served",
                    listener.name
                );
                return Err(bound.bad("listeners", what));
            }
        }
        let for_clients = listeners.iter().find(|listener| !listener.is_controllers);
        if is_controller && !listeners.iter().any(|listener| listener.is_controllers) {
            let what = format!(
                "has no listener of `controller.listener.names` ({})",
                controllers.join(",")
            );
            return Err(bound.bad("listeners", what));
        }
        if is_broker && for_clients.is_none() {
            return Err(bound.bad("listeners", "has none for clients, such as PLAINTEXT://127.0.0.1:9092"));
        }
        if let Some(value) = p.take("inter.broker.listener.name")
            && !listeners.iter().any(|listener| listener.name == value.text)
        {
            return Err(value.bad("inter.broker.listener.name", "is not one of `listeners`"));
        }
        let advertised = p.take("advertised.listeners");
        let (host, port) = advertise(&advertised, &bound, for_clients.or(listeners.first()), &controllers)?;
        if is_controller && !voters.0.iter().any(|voter| voter.id == node_id) {
            return Err(voters.1.bad(
                "controller.quorum.voters",
                format!("does not have this node, which is a controller: add {node_id}@HOST:PORT"),
            ));
        }
        if !is_controller && voters.0.iter().any(|voter| voter.id == node_id) {
            return Err(voters.1.bad(
                "controller.quorum.voters",
                format!("has this node ({node_id}), whose `process.roles` is broker alone"),
            ));
        }
        let cluster_id = match p.take("cluster.id") {
            Some(value) if !value.text.is_empty() => value.text,
            Some(value) => return Err(value.bad("cluster.id", "is empty")),
            None => cluster_id(&voters.0),
        };
        let directory = directory(p)?;
        let rack = p.take("broker.rack").map(|value| value.text);
        let limit = i64::from(i32::MAX);
        let max_connections = take_number(p, "max.connections", 1, limit)?.unwrap_or(limit);
        let idle = take_number(p, "connections.max.idle.ms", i64::MIN, i64::MAX)?;
        let max_frame_bytes = take_number(p, "socket.request.max.bytes", 1, limit)?.unwrap_or(104_857_600);
        let queued = take_number(p, "queued.max.request.bytes", -1, i64::MAX)?.unwrap_or(-1);
        let metrics = p.take("metrics.listener");
        if let Some(value) = metrics.as_ref().filter(|value| host_and_port(&value.text).is_none()) {
            return Err(value.bad("metrics.listener", format!("is `{}`: write HOST:PORT", value.text)));
        }
        let metrics = metrics.map(|value| value.text);
        let notes = p.take("notes.file").map(|value| PathBuf::from(value.text));
        let settings = settings(p)?;
        Ok(ServeConfig {
            node: NodeConfig {
                node_id,
                is_broker,
                is_controller,
                host,
                port,
                rack,
                voters: voters.0,
                cluster_id,
                settings,
                rules: Rules::default(),
            },
            listeners,
            directory,
            max_connections: usize::try_from(max_connections).expect("bounded above"),
            connections_max_idle_ms: idle.unwrap_or(CONNECTIONS_MAX_IDLE_MS),
            max_frame_bytes: usize::try_from(max_frame_bytes).expect("bounded above"),
            queued_max_request_bytes: Some(queued).filter(|bytes| *bytes > 0),
            metrics,
            notes,
        })
    }
}

/// All that is left are numbers of the node.
fn settings(p: &mut Properties) -> Result<Settings, BadProperty> {
    let mut settings = Settings::default();
    // A smaller unit wins over a larger one, as in Kafka.
    for (name, ours, factor) in IN_OTHER_UNITS {
        if let Some(value) = p.take(name) {
            let number = number(&value, name, -1, i64::MAX / factor)?;
            let number = if number < 0 { number } else { number * factor };
            let set = settings.set(ours, &number.to_string());
            set.map_err(|what| value.bad(name, format!("becomes `{ours}`, which {what}")))?;
        }
    }
    for (name, value) in p.drain() {
        let set = settings.set(&name, &value.text);
        set.map_err(|what| value.bad(&name, what))?;
    }
    Ok(settings)
}

/// All properties, a line each, with the values that they have by themselves.
pub fn list() -> String {
    let defaults = Settings::default();
    let numbers = Settings::NAMES.iter().map(|name| {
        let value = defaults.get(name).expect("a name of the list");
        match usize::try_from(value)
            .ok()
            .and_then(|value| Settings::words(name).get(value))
        {
            Some(word) => format!("{name}={word}"),
            None => format!("{name}={value}"),
        }
    });
    let others = OTHERS.iter().map(|name| format!("{name}="));
    let units = IN_OTHER_UNITS
        .iter()
        .map(|(name, ours, _)| format!("# {name}: {ours} in another unit"));
    let without = WITHOUT_EFFECT
        .iter()
        .map(|name| format!("# {name}: accepted, without effect"));
    let mut lines: Vec<String> = numbers.chain(others).chain(units).chain(without).collect();
    lines.sort_by(|a, b| a.trim_start_matches("# ").cmp(b.trim_start_matches("# ")));
    lines.join("\n") + "\n"
}

const OTHERS: &[&str] = &[
    "advertised.listeners",
    "broker.rack",
    "cluster.id",
    "connections.max.idle.ms",
    "controller.listener.names",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dir",
    "log.dirs",
    "max.connections",
    "metrics.listener",
    "node.id",
    "notes.file",
    "process.roles",
    "queued.max.request.bytes",
    "socket.request.max.bytes",
];

fn known() -> impl Iterator<Item = &'static &'static str> {
    let units = IN_OTHER_UNITS.iter().map(|(name, ..)| name);
    Settings::NAMES.iter().chain(OTHERS).chain(WITHOUT_EFFECT).chain(units)
}

fn is_known(name: &str) -> bool {
    known().any(|known| *known == name)
}

fn not_known(name: &str) -> String {
    let special = match name {
        "broker.id" => Some("is of ZooKeeper's time: `node.id` is right"),
        "zookeeper.connect" => Some("is of ZooKeeper's time: there is only a quorum of controllers (`process.roles`)"),
        "controller.quorum.bootstrap.servers" => {
            Some("is not served (KIP-853): name the voters in `controller.quorum.voters`")
        }
        _ => None,
    };
    if let Some(special) = special {
        return special.to_owned();
    }
    match known().min_by_key(|known| distance(name, known)) {
        Some(near) if distance(name, near) <= name.len() / 3 => format!("is not known: did you mean `{near}`?"),
        _ => "is not known (`highwater serve --properties` lists those that are)".to_owned(),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn number(value: &Value, name: &str, min: i64, max: i64) -> Result<i64, BadProperty> {
    let number: i64 = value
        .text
        .parse()
        .map_err(|_| value.bad(name, format!("is not a whole number: `{}`", value.text)))?;
    if !(min..=max).contains(&number) {
        return Err(value.bad(name, format!("must be between {min} and {max}, not {number}")));
    }
    Ok(number)
}

fn take_number(p: &mut Properties, name: &str, min: i64, max: i64) -> Result<Option<i64>, BadProperty> {
    p.take(name).map(|value| number(&value, name, min, max)).transpose()
}

fn names(p: &mut Properties, name: &str) -> Vec<String> {
    let value = p.take(name).map(|value| value.text).unwrap_or_default();
    let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn roles(p: &mut Properties) -> Result<(bool, bool), BadProperty> {
    const NAME: &str = "process.roles";
    let Some(value) = p.take(NAME) else {
        return Err(p.missing(NAME, "broker, controller or broker,controller"));
    };
    let (mut is_broker, mut is_controller) = (false, false);
    for role in value.text.split(',') {
        match role.trim() {
            "broker" => is_broker = true,
            "controller" => is_controller = true,
            other => return Err(value.bad(NAME, format!("has `{other}`: only broker and controller can be"))),
        }
    }
    Ok((is_broker, is_controller))
}

fn voters(p: &mut Properties) -> Result<(Vec<Voter>, Value), BadProperty> {
    const NAME: &str = "controller.quorum.voters";
    let Some(value) = p.take(NAME) else {
        return Err(p.missing(NAME, "all controllers, such as 1@127.0.0.1:9093"));
    };
    let mut voters = BTreeMap::new();
    for entry in value.text.split(',').map(str::trim) {
        let parsed = entry.split_once('@').and_then(|(id, endpoint)| {
            let id = id.parse().ok().filter(|id| *id >= 0)?;
            let (host, port) = host_and_port(endpoint)?;
            (!host.is_empty() && port > 0).then_some((NodeId(id), host, port))
        });
        let Some((id, host, port)) = parsed else {
            return Err(value.bad(NAME, format!("has `{entry}`: write ID@HOST:PORT")));
        };
        if voters.insert(id, Voter { id, host, port }).is_some() {
            return Err(value.bad(NAME, format!("has node {id} twice")));
        }
    }
    Ok((voters.into_values().collect(), value))
}

/// A host may be empty, and an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), port.parse().ok()?))
}

fn listeners(name: &str, value: &Value) -> Result<Vec<Listener>, BadProperty> {
    let mut listeners: Vec<Listener> = Vec::new();
    for entry in value.text.split(',').map(str::trim) {
        let parsed = entry
            .split_once("://")
            .and_then(|(name, endpoint)| Some((name, host_and_port(endpoint)?)));
        let Some((own, (host, port))) = parsed else {
            return Err(value.bad(name, format!("has `{entry}`: write NAME://HOST:PORT")));
        };
        if listeners.iter().any(|listener| listener.name == own) {
            return Err(value.bad(name, format!("has the name {own} twice")));
        }
        listeners.push(Listener {
            name: own.to_owned(),
            host,
            port,
            is_controllers: false,
        });
    }
    Ok(listeners)
}

/// Where clients and brokers find this node.
fn advertise(
    advertised: &Option<Value>,
    bound: &Value,
    own: Option<&Listener>,
    controllers: &[String],
) -> Result<(String, u16), BadProperty> {
    const NAME: &str = "advertised.listeners";
    let wildcard = |host: &str| matches!(host, "" | "0.0.0.0" | "::");
    if let Some(value) = advertised {
        let entries = listeners(NAME, value)?;
        return match entries.iter().find(|entry| !controllers.contains(&entry.name)) {
            Some(entry) if wildcard(&entry.host) => Err(value.bad(
                NAME,
                "names no host: clients must be told an address that they can reach",
            )),
            Some(entry) => Ok((entry.host.clone(), entry.port)),
            None => Err(value.bad(NAME, "has none for clients")),
        };
    }
    match own {
        Some(own) if wildcard(&own.host) => Err(bound.bad(
            "listeners",
            format!("binds every interface, so `{NAME}` must say where clients find this node"),
        )),
        Some(own) => Ok((own.host.clone(), own.port)),
        None => Err(bound.bad("listeners", "is empty")),
    }
}

/// Security protocols of Kafka that are not served.
const NOT_SERVED: [&str; 3] = ["SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// What listeners speak, by their names. One that has no entry is named for its protocol, or speaks PLAINTEXT. Kafka's
/// example files map names that no listener has.
fn protocols(p: &mut Properties) -> Result<BTreeMap<String, String>, BadProperty> {
    const NAME: &str = "listener.security.protocol.map";
    let Some(value) = p.take(NAME) else {
        return Ok(BTreeMap::new());
    };
    let entries = value
        .text
        .split(',')
        .map(str::trim)
        .map(|entry| match entry.split_once(':') {
            Some((name, protocol)) if protocol == "PLAINTEXT" || NOT_SERVED.contains(&protocol) => {
                Ok((name.to_owned(), protocol.to_owned()))
            }
            _ => Err(value.bad(
                NAME,
                format!("has `{entry}`: write NAME:PLAINTEXT, the one protocol that is served"),
            )),
        });
    entries.collect()
}

fn directory(p: &mut Properties) -> Result<PathBuf, BadProperty> {
    let both = (p.take("log.dirs"), p.take("log.dir"));
    let (name, value) = match both {
        (Some(value), _) => ("log.dirs", value),
        (None, Some(value)) => ("log.dir", value),
        (None, None) => return Err(p.missing("log.dirs", "the directory of this node's data")),
    };
    if value.text.is_empty() || value.text.contains(',') {
        return Err(value.bad(name, "must be one directory: a node keeps all of its logs in one"));
    }
    Ok(PathBuf::from(value.text))
}

/// The same for all nodes that name the same voters, so that fresh directories of one cluster agree without having
/// talked to each other.
fn cluster_id(voters: &[Voter]) -> String {
    let mut text = String::from("highwater cluster of");
    for voter in voters {
        text.push_str(&format!(" {}@{}:{}", voter.id, voter.host, voter.port));
    }
    id_text(Uuid::from_u128(xxhash_rust::xxh3::xxh3_128(text.as_bytes())))
}
