//! The broker on real sockets, files and clocks.
//!
//! ```text
//!   sockets ◀─▶ connection ──▶ event ──▶ node ──▶ machine ──▶ disk (page cache)
//!                   ▲                     │ │
//!                   └── link, gate ◀──────┘ └──▶ sync, on threads that may block ──▶ event
//! ```
//!
//! One thread runs the machine and all sockets: a frame goes from socket to page cache without changing threads. Only
//! syncs and name look-ups, which block, have threads of their own.
//!
//! What is in this directory is what simulation does not cover; it decides as little as it can.

pub mod clock;
pub mod cluster;
pub mod config;
pub mod connection;
pub mod directory;
pub mod disk;
pub mod event;
pub mod gate;
pub mod http;
pub mod listen;
pub mod metrics;
pub mod node;
pub mod properties;

use clock::Clock;
use config::ServeConfig;
use connection::Limits;
use directory::Directory;
use event::Event;
use gate::RequestMemory;
use kafka::log::LogError;
use node::Node;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Syncs that are under way at once.
const SYNC_THREADS: usize = 8;
/// Exit code of a process that was told twice to stop: what a shell gives for SIGINT.
const STOPPED_AT_ONCE: i32 = 130;
/// What answers may take to reach their peers once the machine has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Why a process did not serve, or stopped serving without being asked. The text is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

/// Serves until a signal says otherwise. `say` is told what was done, line by line.
pub fn serve(config: ServeConfig, mut say: impl FnMut(String)) -> Result<(), Failure> {
    let clock = Clock::start();
    let directory = directory::claim(&config.directory).map_err(Failure)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SYNC_THREADS)
        .build()
        .map_err(|error| Failure(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(run(config, &directory, clock, &mut say));
    // Syncs that hang must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn run(
    config: ServeConfig,
    directory: &Directory,
    clock: Clock,
    say: &mut impl FnMut(String),
) -> Result<(), Failure> {
    // Before anything that takes time, so that a signal is never deadly by accident.
    let failed = |error: std::io::Error| Failure(format!("cannot hear signals: {error}"));
    let term = signal(SignalKind::terminate()).map_err(failed)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        listeners.push(bind(&listener.host, listener.port).await?);
    }
    let metrics = match &config.metrics {
        Some(address) => Some(bind_metrics(address).await?),
        None => None,
    };
    let limits = Arc::new(Limits {
        max_frame_bytes: config.max_frame_bytes,
        memory: RequestMemory::new(config.queued_max_request_bytes),
    });
    say(describe(&config));
    say(describe_data(&config, directory));
    let entropy = entropy().map_err(|error| Failure(format!("no entropy: {error}")))?;
    let disk = disk::FileDisk::new(directory.path.clone());
    let node = Node::open(config.node, entropy, disk, Arc::clone(&limits), clock)
        .map_err(|error| Failure(refused(directory, &error)))?;
    let events = node.sender();
    let acceptor = Arc::new(listen::Acceptor::new(limits, config.max_connections, events.clone()));
    for listener in listeners {
        tokio::spawn(Arc::clone(&acceptor).accept(listener));
    }
    if let Some(listener) = metrics {
        tokio::spawn(http::serve(listener, events.clone()));
    }
    tokio::spawn(hear(term, interrupt, events));
    let ms = clock.now().mono.as_ms();
    say(format!("listening after {ms} ms; ctrl-c or SIGTERM stops in order"));
    let exit = node.run().await;
    if exit.clean {
        tokio::time::sleep(LAST_WORDS).await;
        tracing::info!("{}", exit.reason);
        Ok(())
    } else {
        Err(Failure(exit.reason))
    }
}

/// The first signal asks, the second does not.
async fn hear(mut term: Signal, mut interrupt: Signal, events: tokio::sync::mpsc::UnboundedSender<Event>) {
    for times in 0.. {
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        if times > 0 {
            std::process::exit(STOPPED_AT_ONCE);
        }
        let _ = events.send(Event::Shutdown);
    }
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, Failure> {
    let host = if host.is_empty() { "::" } else { host };
    TcpListener::bind((host, port))
        .await
        .map_err(|error| Failure(format!("cannot listen on {host}:{port}: {error}")))
}

async fn bind_metrics(address: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure(format!("cannot listen on {address} for metrics: {error}")))
}

fn describe(config: &ServeConfig) -> String {
    let node = &config.node;
    let roles = match (node.is_broker, node.is_controller) {
        (true, true) => "broker and controller",
        (true, false) => "broker",
        _ => "controller",
    };
    let listeners: Vec<String> = config
        .listeners
        .iter()
        .map(|listener| format!("{}://{}:{}", listener.name, listener.host, listener.port))
        .collect();
    format!("node {} ({roles}) on {}", node.node_id, listeners.join(" and "))
}

fn describe_data(config: &ServeConfig, directory: &Directory) -> String {
    let what = if directory.is_fresh {
        "a fresh directory"
    } else {
        "opened"
    };
    let path = directory.path.display();
    format!("data in {path}, {what}, cluster {}", config.node.cluster_id)
}

fn refused(directory: &Directory, error: &LogError) -> String {
    format!("cannot open {}: {error}", directory.path.display())
}

/// Fresh at every start.
fn entropy() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
