//! `serve`: the broker on real sockets, files and clocks.

use super::Failure;
use crate::serve::config::{ALONE, ServeConfig};
use crate::serve::properties::{BadProperty, Properties};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::filter::LevelFilter;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Kafka's server.properties [default: one node on 127.0.0.1:9092 with its data in ./highwater-data]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Set one property, over what the file says
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// List all properties with their defaults, and stop
    #[arg(long, conflicts_with_all = ["config", "set", "cluster", "metrics"])]
    properties: bool,
    /// Start this many nodes on this machine, each a process of its own
    #[arg(long, value_name = "NODES", conflicts_with_all = ["config", "metrics"], value_parser = clap::value_parser!(u16).range(1..=9))]
    cluster: Option<u16>,
    /// First port of a cluster; each further node is 100 above, its controller one above the node
    #[arg(long, default_value_t = 9092, requires = "cluster")]
    port: u16,
    /// Where a cluster keeps its files and data
    #[arg(long, value_name = "DIR", default_value = "./highwater-data", requires = "cluster")]
    data: PathBuf,
    /// Serve /metrics for a Prometheus on this address, such as 127.0.0.1:9100
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// What to log: `info` are decisions, `debug` is every note
    #[arg(long, env = "HIGHWATER_LOG", default_value = "warn", value_parser = ["off", "error", "warn", "info", "debug", "trace"])]
    log: String,
}

impl From<BadProperty> for Failure {
    fn from(error: BadProperty) -> Failure {
        Failure {
            code: 2,
            text: error.to_string(),
        }
    }
}

impl From<crate::serve::Failure> for Failure {
    fn from(failure: crate::serve::Failure) -> Failure {
        Failure {
            code: 6,
            text: failure.0,
        }
    }
}

pub(super) fn serve(args: &ServeArgs) -> Result<u8, Failure> {
    if args.properties {
        print!("{}", crate::serve::config::list());
        return Ok(0);
    }
    if let Some(nodes) = args.cluster {
        let mut more = vec!["--log".to_owned(), args.log.clone()];
        for assignment in &args.set {
            more.extend(["--set".to_owned(), assignment.clone()]);
        }
        crate::serve::cluster::serve(nodes, args.port, &args.data, &more)?;
        return Ok(0);
    }
    let config = configuration(args)?;
    let level: LevelFilter = args.log.parse().expect("the command line takes nothing else");
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    crate::serve::serve(config)?;
    Ok(0)
}

fn configuration(args: &ServeArgs) -> Result<ServeConfig, Failure> {
    let mut properties = match &args.config {
        Some(path) => Properties::load(path)?,
        None => Properties::builtin(ALONE),
    };
    for assignment in &args.set {
        properties.set(assignment)?;
    }
    if let Some(address) = &args.metrics {
        properties.set(&format!("metrics.listener={address}"))?;
    }
    Ok(ServeConfig::of(properties)?)
}
