//! Reading a scenario: strict, and with the place of what is wrong.

use super::{Action, Condition, Controllers, Expect, Scenario, SearchQuestion, Subject};
use crate::checks::{Checks, Marks};
use kafka::config::{Settings, TopicConfig};
use model::catalogue::{Properties, Question};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// What is wrong with an input file, where, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadInput {
    /// The file as it was named.
    pub file: String,
    /// `line 3, column 7` or a JSON path such as `topics[0].replication_factor`.
    pub place: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// A place that is no place in the file.
const THE_FILE: &str = "the file itself";

impl BadInput {
    /// A file that cannot be read.
    pub fn unread(path: &Path, error: &std::io::Error) -> BadInput {
        BadInput {
            file: path.display().to_string(),
            place: THE_FILE.to_owned(),
            problem: format!("cannot be read: {error}"),
        }
    }

    /// Text that is not the JSON that it should be.
    pub fn json(file: &str, error: &serde_json::Error, problem: impl Into<String>) -> BadInput {
        BadInput {
            file: file.to_owned(),
            place: format!("line {}, column {}", error.line(), error.column()),
            problem: problem.into(),
        }
    }
}

impl fmt::Display for BadInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            THE_FILE => write!(f, "{}: {}", self.file, self.problem),
            place => write!(f, "{}: {place}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for BadInput {}

/// Scenario files of a directory, in the order of their names. The schema that lies beside them is none.
pub fn files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    let is_json = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    paths.retain(|path| is_json(path) && !path.ends_with("schema.json"));
    paths.sort();
    Ok(paths)
}

/// Reads and validates a file.
pub fn load(path: &Path) -> Result<Scenario, BadInput> {
    let text = std::fs::read_to_string(path).map_err(|error| BadInput::unread(path, &error))?;
    parse(&path.display().to_string(), &text)
}

/// Validates a scenario's text; `file` is only named in errors.
pub fn parse(file: &str, text: &str) -> Result<Scenario, BadInput> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let scenario: Scenario = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        let problem = inner.to_string();
        let mut bad = BadInput::json(file, &inner, problem.split(" at line ").next().unwrap_or(&problem));
        // "?": the end of the file came in the middle of something.
        if !matches!(path.as_str(), "." | "?") {
            bad.place += &format!(" ({path})");
        }
        bad
    })?;
    deserializer
        .end()
        .map_err(|error| BadInput::json(file, &error, "nothing may follow the scenario's closing brace"))?;
    let mut lint = Lint {
        file,
        scenario: &scenario,
    };
    lint.all()?;
    Ok(scenario)
}

struct Lint<'a> {
    file: &'a str,
    scenario: &'a Scenario,
}

type Lines = Result<(), BadInput>;

impl Lint<'_> {
    fn bad(&self, place: impl Into<String>, problem: impl Into<String>) -> BadInput {
        BadInput {
            file: self.file.to_owned(),
            place: place.into(),
            problem: problem.into(),
        }
    }

    fn ensure(&self, holds: bool, place: impl Into<String>, problem: impl Into<String>) -> Lines {
        if holds { Ok(()) } else { Err(self.bad(place, problem)) }
    }

    fn all(&mut self) -> Lines {
        self.names()?;
        let follows_paths = self.scenario.model.is_some() && self.scenario.duration_ms == 0;
        if self.scenario.has_cluster() {
            self.cluster()?;
            self.topics()?;
        }
        if self.scenario.has_cluster() && !follows_paths {
            self.durations()?;
            self.clients()?;
            self.faults()?;
        } else {
            self.nothing_to_simulate()?;
        }
        Subject::ALL.into_iter().try_for_each(|subject| self.search(subject))?;
        super::lesson::check(self.scenario).map_err(|(place, problem)| self.bad(place, problem))?;
        self.verdict()
    }

    fn search(&self, subject: Subject) -> Lines {
        let Some((asked, question)) = self.scenario.question(subject) else {
            return Ok(());
        };
        let field = subject.field();
        let known = (subject.open(&question, Properties))
            .map_err(|wrong| self.bad(format!("{field}.{}", wrong.place), wrong.problem))?;
        for (name, states) in &asked.violates {
            let place = format!("{field}.violates[\"{name}\"]");
            self.ensure(
                known.contains(&name.as_str()),
                &place,
                format!(
                    "`{}` has no property `{name}`; it has: {}",
                    question.spec,
                    known.join(", ")
                ),
            )?;
            self.ensure(*states > 0, &place, "a trace has at least one state")?;
        }
        Ok(())
    }

    /// Where no seed runs, what would be done to a cluster is a mistake.
    fn nothing_to_simulate(&self) -> Lines {
        let scenario = self.scenario;
        self.ensure(
            scenario.model.is_some() || scenario.code.is_some(),
            "cluster",
            "there is neither a cluster to simulate nor a `model` or `code` to ask",
        )?;
        let missing = if scenario.has_cluster() {
            "duration_ms"
        } else {
            "cluster"
        };
        let faults = &scenario.faults;
        let clients = &scenario.clients;
        let clients =
            clients.producers.len() + clients.consumers.len() + clients.admins.len() + clients.strangers.len();
        for (field, absent) in [
            ("lesson", scenario.lesson.is_none()),
            ("topics", scenario.topics.is_empty() || scenario.has_cluster()),
            ("clients", clients == 0),
            ("faults", faults.swarm.is_none() && faults.script.is_empty()),
            ("duration_ms", scenario.duration_ms == 0),
            ("sometimes", scenario.sometimes.is_empty()),
            ("expect", scenario.expect == Expect::Passes),
        ] {
            self.ensure(
                absent,
                field,
                format!(
                    "asks something of a run, but `{missing}` is left out; what a search answers is in `model` or `code`"
                ),
            )?;
        }
        Ok(())
    }

    fn names(&self) -> Lines {
        let scenario = self.scenario;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        self.ensure(
            !scenario.name.is_empty() && scenario.name.chars().all(good),
            "name",
            format!("`{}` must be lower-case letters, digits and hyphens", scenario.name),
        )?;
        for (i, claim) in scenario.claims.iter().enumerate() {
            let number = claim.strip_prefix('N').and_then(|digits| digits.parse::<u32>().ok());
            let known = claim.len() == 3 && number.is_some_and(|number| (1..=59).contains(&number));
            self.ensure(
                known,
                format!("claims[{i}]"),
                format!("`{claim}` is not a claim; they are N01 to N59"),
            )?;
        }
        Ok(())
    }

    fn durations(&self) -> Lines {
        let scenario = self.scenario;
        self.ensure(
            (1..=86_400_000).contains(&scenario.duration_ms),
            "duration_ms",
            format!("must be between 1 and 86400000 (a day), not {}", scenario.duration_ms),
        )?;
        self.ensure(
            (1..=86_400_000).contains(&scenario.heal_ms),
            "heal_ms",
            format!("must be between 1 and 86400000 (a day), not {}", scenario.heal_ms),
        )
    }

    fn cluster(&self) -> Lines {
        let cluster = &self.scenario.cluster;
        if let Controllers::Separate(count) = cluster.controllers {
            self.ensure(
                (1..=9).contains(&count),
                "cluster.controllers.separate",
                format!("must be between 1 and 9, not {count}"),
            )?;
        }
        let mut settings = Settings::default();
        for (name, value) in &cluster.properties {
            settings.set(name, value).map_err(|problem| {
                self.bad(format!("cluster.properties[\"{name}\"]"), format!("`{name}` {problem}"))
            })?;
        }
        Ok(())
    }

    fn topics(&self) -> Lines {
        let brokers = i32::from(self.scenario.cluster.brokers);
        let mut names = BTreeSet::new();
        for (i, topic) in self.scenario.topics.iter().enumerate() {
            let at = |field: &str| format!("topics[{i}].{field}");
            let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            self.ensure(
                (1..=249).contains(&topic.name.len()) && topic.name.chars().all(legal),
                at("name"),
                format!(
                    "`{}` must be 1 to 249 letters, digits, dots, underscores or hyphens",
                    topic.name
                ),
            )?;
            self.ensure(
                names.insert(&topic.name),
                at("name"),
                format!("there is a second topic `{}`", topic.name),
            )?;
            self.ensure(
                (1..=1_000).contains(&topic.partitions),
                at("partitions"),
                format!("must be between 1 and 1000, not {}", topic.partitions),
            )?;
            let replicas = i32::from(topic.replication_factor);
            self.ensure(
                (1..=brokers).contains(&replicas),
                at("replication_factor"),
                format!("is {replicas}, but must be between 1 and the number of brokers, {brokers}"),
            )?;
            if !topic.assignment.is_empty() {
                self.ensure(
                    topic.assignment.len() == topic.partitions as usize,
                    at("assignment"),
                    format!("must have one list for each of the {} partitions", topic.partitions),
                )?;
                for (p, nodes) in topic.assignment.iter().enumerate() {
                    let distinct: BTreeSet<_> = nodes.iter().collect();
                    let right = nodes.len() == replicas as usize
                        && distinct.len() == nodes.len()
                        && nodes.iter().all(|node| (1..=brokers).contains(node));
                    self.ensure(
                        right,
                        at(&format!("assignment[{p}]")),
                        format!("must name {replicas} different brokers between 1 and {brokers}"),
                    )?;
                }
            }
            for (name, value) in &topic.config {
                TopicConfig::default()
                    .set(name, value)
                    .map_err(|problem| self.bad(at(&format!("config[\"{name}\"]")), format!("`{name}` {problem}")))?;
            }
        }
        Ok(())
    }

    fn clients(&self) -> Lines {
        let clients = &self.scenario.clients;
        for (i, producer) in clients.producers.iter().enumerate() {
            let at = |field: &str| format!("clients.producers[{i}].{field}");
            self.topics_exist(&producer.topics, &at("topics"))?;
            self.ensure(
                (12..=1_000_000).contains(&producer.value_bytes),
                at("value_bytes"),
                format!("must be between 12 and 1000000, not {}", producer.value_bytes),
            )?;
            self.ensure(
                producer.records_per_s <= 100_000,
                at("records_per_s"),
                format!("must be at most 100000, not {}", producer.records_per_s),
            )?;
            let percent = producer.idempotent_percent;
            self.ensure(
                percent <= 100,
                at("idempotent_percent"),
                format!("must be at most 100, not {percent}"),
            )?;
            let mut config = kafka::client::ProducerConfig::new("", Vec::new());
            for (name, value) in &producer.config {
                config
                    .set(name, value)
                    .map_err(|problem| self.bad(at(&format!("config[\"{name}\"]")), format!("`{name}` {problem}")))?;
            }
            if percent > 0 {
                config.settings.enable_idempotence = 1;
            }
            config.check().map_err(|problem| self.bad(at("config"), problem))?;
        }
        for (i, consumer) in clients.consumers.iter().enumerate() {
            let at = |field: &str| format!("clients.consumers[{i}].{field}");
            self.topics_exist(&consumer.topics, &at("topics"))?;
            for (name, value) in &consumer.config {
                kafka::client::ConsumerConfig::new("", Vec::new())
                    .set(name, value)
                    .map_err(|problem| self.bad(at(&format!("config[\"{name}\"]")), format!("`{name}` {problem}")))?;
            }
        }
        for (i, admin) in clients.admins.iter().enumerate() {
            let at = |field: &str| format!("clients.admins[{i}].{field}");
            self.ensure(admin.every_ms > 0, at("every_ms"), "must be at least 1")?;
        }
        for (i, stranger) in clients.strangers.iter().enumerate() {
            let place = format!("clients.strangers[{i}].every_ms");
            self.ensure(stranger.every_ms > 0, place, "must be at least 1")?;
        }
        let percent = self.scenario.cluster.driver_percent;
        self.ensure(
            percent <= 100,
            "cluster.driver_percent",
            format!("must be at most 100, not {percent}"),
        )?;
        Ok(())
    }

    fn topics_exist(&self, names: &[String], place: &str) -> Lines {
        self.ensure(!names.is_empty(), place, "must name at least one topic")?;
        for (i, name) in names.iter().enumerate() {
            let known: Vec<&str> = self.scenario.topics.iter().map(|topic| topic.name.as_str()).collect();
            self.ensure(
                known.contains(&name.as_str()),
                format!("{place}[{i}]"),
                format!("there is no topic `{name}`; there are: {}", known.join(", ")),
            )?;
        }
        Ok(())
    }

    fn faults(&self) -> Lines {
        let faults = &self.scenario.faults;
        if let Some(swarm) = &faults.swarm {
            let known: Vec<String> = sim::swarm::Family::ALL.iter().map(|family| family.name()).collect();
            for (i, family) in swarm.families.iter().enumerate() {
                self.ensure(
                    known.contains(family),
                    format!("faults.swarm.families[{i}]"),
                    format!(
                        "there is no family of faults `{family}`; there are: {}",
                        known.join(", ")
                    ),
                )?;
            }
            self.nodes(&swarm.spared, "faults.swarm.spared")?;
            let servers = self.scenario.node_names();
            self.ensure(
                servers.iter().any(|name| !swarm.spared.contains(name)),
                "faults.swarm.spared",
                "somebody must be left to be struck",
            )?;
            let (shortest, longest) = swarm.window_ms;
            self.ensure(
                1 <= shortest && shortest <= longest,
                "faults.swarm.window_ms",
                format!("the shortest, {shortest} ms, must be at least 1 and no more than the longest, {longest} ms"),
            )?;
        }
        for (i, step) in faults.script.iter().enumerate() {
            self.condition(&step.when, &format!("faults.script[{i}].when"))?;
            for (j, action) in step.actions.iter().enumerate() {
                self.action(action, &format!("faults.script[{i}].do[{j}]"))?;
            }
        }
        Ok(())
    }

    fn node(&self, name: &str, place: &str) -> Lines {
        let known = self.scenario.node_names();
        self.ensure(
            known.iter().any(|known| known == name),
            place,
            format!("there is no node `{name}`; there are: {}", known.join(", ")),
        )
    }

    fn nodes<'n>(&self, names: impl IntoIterator<Item = &'n String>, place: &str) -> Lines {
        names.into_iter().try_for_each(|name| self.node(name, place))
    }

    /// Nodes and clients: whoever has a link.
    fn linked<'n>(&self, names: impl IntoIterator<Item = &'n String>, place: &str) -> Lines {
        let clients = self.scenario.client_names();
        let is_client = |name: &&String| clients.contains(name);
        self.nodes(names.into_iter().filter(|name| !is_client(name)), place)
    }

    fn client(&self, name: &str, kind: char, place: &str) -> Lines {
        let known: Vec<String> = self
            .scenario
            .client_names()
            .into_iter()
            .filter(|known| known.starts_with(kind))
            .collect();
        self.ensure(
            known.iter().any(|known| known == name),
            place,
            format!("there is no such client as `{name}`; there are: {}", known.join(", ")),
        )
    }

    fn partition(&self, name: &str, place: &str) -> Lines {
        let found = self.scenario.split_partition(name);
        self.ensure(
            found.is_some(),
            place,
            format!("`{name}` is not a partition of this scenario; write `topic-0`"),
        )
    }

    fn condition(&self, condition: &Condition, place: &str) -> Lines {
        match condition {
            Condition::Now | Condition::AfterMs(_) => Ok(()),
            Condition::AtMs(ms) => self.ensure(
                *ms <= self.scenario.duration_ms,
                place,
                format!("{ms} ms is after the end of the run, {} ms", self.scenario.duration_ms),
            ),
            Condition::LogEnd { node, partition, .. }
            | Condition::HighWatermark { node, partition, .. }
            | Condition::Leads { node, partition } => {
                self.node(node, place)?;
                self.partition(partition, place)
            }
            Condition::Isr { partition, nodes } => {
                self.partition(partition, place)?;
                self.nodes(nodes, place)
            }
            Condition::Answered { client, .. }
            | Condition::Acknowledged { client, .. }
            | Condition::Failed { client, .. } => self.client(client, 'p', place),
            Condition::Read { client, partition, .. } | Condition::ReadIs { client, partition, .. } => {
                self.client(client, 'r', place)?;
                self.partition(partition, place)
            }
            Condition::Up { node, .. } => self.node(node, place),
        }
    }

    fn action(&self, action: &Action, place: &str) -> Lines {
        match action {
            Action::Send { client, partition, .. } => {
                self.client(client, 'p', place)?;
                self.partition(partition, place)
            }
            Action::Kill(node)
            | Action::Start(node)
            | Action::Terminate(node)
            | Action::Pause(node)
            | Action::Resume(node)
            | Action::WipeDisk(node)
            | Action::StepClock { node, .. } => self.node(node, place),
            Action::PowerLoss { nodes, keep } => {
                self.nodes(nodes, place)?;
                let known = ["none", "all", "subset", "ordered", "prefix"];
                self.ensure(
                    known.contains(&keep.as_str()),
                    place,
                    format!("`keep` is `{keep}`; it may be {}", known.join(", ")),
                )
            }
            Action::Cut { a, b } => self.linked(a.iter().chain(b), place),
            Action::CutOneWay { from, to } => self.linked(from.iter().chain(to), place),
            Action::Hold(link) | Action::LetThrough(link) | Action::Drop(link) | Action::Release(link) => {
                self.linked([&link.from, &link.to], place)
            }
            Action::HealLinks => Ok(()),
            Action::SlowLink { from, to, factor } => {
                self.linked([from, to], place)?;
                self.ensure(*factor > 0, place, "`factor` must be at least 1")
            }
            Action::Disk { node, fault } => {
                self.node(node, place)?;
                serde_json::from_value::<sim::fault::DiskFault>(fault.clone())
                    .map(drop)
                    .map_err(|error| self.bad(place, format!("`fault`: {error}")))
            }
            Action::PollEvery { client, .. } => self.client(client, 'r', place),
            Action::Elect { client, partition, .. } => {
                self.client(client, 'a', place)?;
                self.partition(partition, place)
            }
            Action::AlterTopic { client, topic, config } => {
                self.client(client, 'a', place)?;
                self.topics_exist(std::slice::from_ref(topic), place)?;
                config.iter().try_for_each(|(name, value)| {
                    TopicConfig::default()
                        .set(name, value)
                        .map_err(|problem| self.bad(place, format!("`{name}` {problem}")))
                })
            }
        }
    }

    fn verdict(&self) -> Lines {
        for (i, rule) in self.scenario.rules.iter().enumerate() {
            let known: Vec<&str> = kafka::rules::Rule::ALL.iter().map(|rule| rule.name()).collect();
            self.ensure(
                known.contains(&rule.as_str()),
                format!("rules[{i}]"),
                format!("there is no rule `{rule}`; there are: {}", known.join(", ")),
            )?;
        }
        for (i, duty) in self.scenario.sometimes.iter().enumerate() {
            self.ensure(
                Marks::is_known(&duty.mark),
                format!("sometimes[{i}].mark"),
                format!(
                    "there is no mark `{}`; there are: {}",
                    duty.mark,
                    Marks::list()
                        .iter()
                        .map(|mark| mark.name)
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )?;
        }
        if let Expect::Violates { check } = &self.scenario.expect {
            let known: Vec<&str> = Checks::list().iter().map(|check| check.id).collect();
            self.ensure(
                known.contains(&check.as_str()),
                "expect.check",
                format!("there is no check `{check}`; there are: {}", known.join(", ")),
            )?;
        }
        Ok(())
    }
}

impl Scenario {
    /// Brokers, then controllers of their own, in the order of the world's nodes.
    pub fn node_names(&self) -> Vec<String> {
        let brokers = (1..=self.cluster.brokers).map(|i| format!("b{i}"));
        let controllers = match self.cluster.controllers {
            Controllers::Combined => 0,
            Controllers::Separate(count) => count,
        };
        brokers.chain((1..=controllers).map(|i| format!("c{i}"))).collect()
    }

    /// Producers p1.., readers r1.., administrators a1.., strangers s1.., in the order of the world's nodes.
    pub fn client_names(&self) -> Vec<String> {
        let numbered = |kind: char, count: usize| (1..=count).map(move |i| format!("{kind}{i}"));
        numbered('p', self.clients.producers.len())
            .chain(numbered('r', self.clients.consumers.len()))
            .chain(numbered('a', self.clients.admins.len()))
            .chain(numbered('s', self.clients.strangers.len()))
            .collect()
    }

    /// Topic and index of `topic-partition`.
    pub fn split_partition<'n>(&self, name: &'n str) -> Option<(&'n str, i32)> {
        let (topic, index) = name.rsplit_once('-')?;
        let index: i32 = index.parse().ok()?;
        let known = self
            .topics
            .iter()
            .any(|known| known.name == topic && (0..known.partitions).contains(&index));
        known.then_some((topic, index))
    }

    /// Properties of every node as a whole.
    pub fn settings(&self) -> Settings {
        // A run's topics are those of its scenario.
        let mut settings = Settings {
            auto_create_topics_enable: 0,
            ..Settings::default()
        };
        for (name, value) in &self.cluster.properties {
            settings.set(name, value).expect("validated when it was read");
        }
        settings
    }

    /// What a search is asked, with the rules that are on.
    pub fn question(&self, subject: Subject) -> Option<(&SearchQuestion, Question)> {
        let asked = match subject {
            Subject::Model => self.model.as_ref(),
            Subject::Code => self.code.as_ref(),
        }?;
        let question = Question {
            spec: asked.spec.clone(),
            bounds: asked.bounds.clone(),
            rules: self.rules.clone(),
        };
        Some((asked, question))
    }

    /// Rules that are on.
    pub fn rules(&self) -> kafka::rules::Rules {
        let rules = self
            .rules
            .iter()
            .map(|name| kafka::rules::Rule::by_name(name).expect("validated when it was read"));
        rules.fold(kafka::rules::Rules::NONE, kafka::rules::Rules::with)
    }

    /// The configs of topics by name.
    pub fn topic_configs(&self) -> BTreeMap<String, TopicConfig> {
        let settings = self.settings();
        self.topics
            .iter()
            .map(|topic| (topic.name.clone(), TopicConfig::of(&settings, &topic.config)))
            .collect()
    }
}
