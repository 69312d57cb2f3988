//! `serve`: the broker on real sockets, files and clocks.

use super::Failure;
use crate::serve::config::{ALONE, ServeConfig};
use crate::serve::properties::{BadProperty, Properties};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Kafka's server.properties [default: one node on 127.0.0.1:9092 with its data in ./highwater-data]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Set one property, over what the file says
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Serve /metrics for a Prometheus on this address, such as 127.0.0.1:9100
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// What to log: `warn`, `info` for decisions, `debug` for every note
    #[arg(long, env = "HIGHWATER_LOG", default_value = "warn")]
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

pub(super) fn serve(args: &ServeArgs) -> Result<u8, Failure> {
    let config = configuration(args)?;
    let filter = EnvFilter::try_new(&args.log).map_err(|error| Failure {
        code: 2,
        text: format!("--log {}: {error}", args.log),
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    crate::serve::serve(config, |line| println!("{line}"))
        .map(|()| 0)
        .map_err(|failure| Failure {
            code: 6,
            text: failure.0,
        })
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
