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
pub mod directory;
pub mod disk;
pub mod event;
pub mod http;
pub mod idle;
pub mod listen;
pub mod metrics;
pub mod node;
pub mod notes;
pub mod properties;

use crate::connection::Limits;
use crate::connection::gate::RequestMemory;
use clock::Clock;
use config::ServeConfig;
use directory::Directory;
use event::Event;
use kafka::log::LogError;
use node::Node;
use notes::NoteFile;
use std::io::{Read, Write};
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

/// Serves until a signal says otherwise. Prints in three lines what it did.
pub fn serve(config: ServeConfig) -> Result<(), Failure> {
    let clock = Clock::start();
    let directory = directory::claim(&config.directory).map_err(Failure)?;
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(SYNC_THREADS)
        .build()
        .map_err(|error| Failure(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(run(config, &directory, clock));
    // Syncs that hang must not hold up the end.
    runtime.shutdown_background();
    ended
}

async fn run(config: ServeConfig, directory: &Directory, clock: Clock) -> Result<(), Failure> {
    // Before anything that takes time, so that a signal is never deadly by accident.
    let failed = |error: std::io::Error| Failure(format!("cannot hear signals: {error}"));
    let term = signal(SignalKind::terminate()).map_err(failed)?;
    let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // All ports are taken before anything else, so that one that is not free is an error at once.
    let (mut for_controllers, mut for_clients) = (Vec::new(), Vec::new());
    for listener in &config.listeners {
        let bound = listen::bind(&listener.host, listener.port).await;
        let bound = bound.map_err(|error| Failure(format!("cannot listen on {}: {error}", show(listener))))?;
        match listener.is_controllers {
            true => for_controllers.push(bound),
            false => for_clients.push(bound),
        }
    }
    let metrics = match &config.metrics {
        Some(address) => Some(bind_metrics(address).await?),
        None => None,
    };
    let limits = Arc::new(Limits {
        max_frame_bytes: config.max_frame_bytes,
        memory: RequestMemory::new(config.queued_max_request_bytes),
    });
    say(&describe(&config));
    say(&describe_data(&config, directory));
    let is_broker = config.node.is_broker;
    let entropy = entropy().map_err(|error| Failure(format!("no entropy: {error}")))?;
    let disk = disk::FileDisk::new(directory.path.clone());
    let notes = config.notes.map(|path| {
        NoteFile::append_to(&path).map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))
    });
    let mut node = Node::open(
        config.node,
        entropy,
        disk,
        Arc::clone(&limits),
        clock,
        notes.transpose()?,
    )
    .map_err(|error| Failure(refused(directory, &error)))?;
    node.close_idle(config.connections_max_idle_ms);
    let events = node.sender();
    let acceptor = Arc::new(listen::Acceptor::new(limits, config.max_connections, events.clone()));
    let refused = |error: std::io::Error| Failure(format!("cannot listen: {error}"));
    for bound in for_controllers {
        acceptor.start(bound).map_err(refused)?;
    }
    if let Some(listener) = metrics {
        tokio::spawn(http::serve(listener, events.clone()));
    }
    tokio::spawn(hear(term, interrupt, events));
    if is_broker {
        let in_service = node.in_service();
        tokio::spawn(open_to_clients(in_service, acceptor, for_clients, clock));
    } else {
        say(&after(clock));
    }
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

/// Kafka's order: clients connect to a broker once it is in service, and are refused before.
async fn open_to_clients(
    in_service: tokio::sync::oneshot::Receiver<()>,
    acceptor: Arc<listen::Acceptor>,
    listeners: Vec<listen::Bound>,
    clock: Clock,
) {
    if in_service.await.is_err() {
        return;
    }
    for bound in listeners {
        if let Err(error) = acceptor.start(bound) {
            tracing::error!("cannot listen: {error}");
        }
    }
    say(&after(clock));
}

/// Tells whoever still reads: a server goes on when nobody does.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn after(clock: Clock) -> String {
    let ms = clock.now().mono.as_ms();
    format!("serving after {ms} ms; ctrl-c or SIGTERM stops in order")
}

fn show(listener: &config::Listener) -> String {
    format!("{}://{}:{}", listener.name, listener.host, listener.port)
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
    let listeners: Vec<String> = config.listeners.iter().map(show).collect();
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

/// A replica has three files and a connection one: the usual 1,024 would be a few hundred partitions.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// Fresh at every start.
fn entropy() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
