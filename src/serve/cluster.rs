//! Several nodes on one machine, each a process of its own: `serve --cluster 3`.
//!
//! The parent only starts, repeats what they print, and stops them one after the other. What it gives them are files
//! as anybody would write them; those of `scenarios/serve` are three of them.

use super::{Failure, say};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How often the parent looks whether a node has ended.
const LOOK: Duration = Duration::from_millis(50);
/// A node that fails so soon has never served: the others would wait for it in vain.
const AT_ONCE: Duration = Duration::from_secs(3);
/// The first listener of each node is this far from that of the node before.
const PORTS_APART: u16 = 100;

/// The file of node `id` (from 1) of `nodes`: clients' listener on `port` for the first, its data below `data`.
pub fn properties(id: u16, nodes: u16, port: u16, data: &Path) -> String {
    let own = |id: u16| port + PORTS_APART * (id - 1);
    let voters: Vec<String> = (1..=nodes)
        .map(|id| format!("{id}@127.0.0.1:{}", own(id) + 1))
        .collect();
    let (client, controller) = (own(id), own(id) + 1);
    let replicas = nodes.min(3);
    format!(
        "# Node {id} of {nodes} on one machine; `highwater serve --cluster {nodes}` starts all of them.
process.roles=broker,controller
node.id={id}
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.voters={}
log.dirs={}
# Acknowledged with acks=all means: on all but one of the replicas at least.
default.replication.factor={replicas}
min.insync.replicas={}
# The last to leave has nobody to ask.
controlled.shutdown.timeout.ms=5000
",
        voters.join(","),
        data.join(format!("node-{id}")).display(),
        (replicas - 1).max(1),
    )
}

struct Member {
    id: u16,
    child: Child,
    since: Instant,
}

/// Starts all nodes and runs until they have ended: by themselves, or because a signal said so.
pub fn serve(nodes: u16, port: u16, data: &Path, more: &[String]) -> Result<(), Failure> {
    if u32::from(port) + u32::from(PORTS_APART) * u32::from(nodes) > u32::from(u16::MAX) {
        return Err(Failure(format!("there are no ports for {nodes} nodes from {port} on")));
    }
    std::fs::create_dir_all(data).map_err(|error| Failure(format!("cannot create {}: {error}", data.display())))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure(format!("cannot start: {error}")))?;
    runtime.block_on(run(nodes, port, data, more))
}

async fn run(nodes: u16, port: u16, data: &Path, more: &[String]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure(format!("cannot hear signals: {error}"));
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut members = Vec::new();
    for id in 1..=nodes {
        let file = file_of(id, data);
        let started = std::fs::write(&file, properties(id, nodes, port, data)).and_then(|()| start(id, &file, more));
        match started {
            Ok(member) => members.push(member),
            Err(error) => {
                stop(&mut members);
                return Err(Failure(format!("cannot start node {id}: {error}")));
            }
        }
    }
    let mut broken = Vec::new();
    let mut never_served = false;
    while !members.is_empty() {
        tokio::select! {
            biased;
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(LOOK) => {}
        }
        members.retain_mut(|member| match member.child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) => {
                let id = member.id;
                let again = format!("highwater serve --config {}", file_of(id, data).display());
                say(&format!("{id} | ended: {status}; again with: {again}"));
                broken.extend(complaint(id, status));
                never_served |= !status.success() && member.since.elapsed() < AT_ONCE;
                false
            }
            Err(_) => false,
        });
        if never_served {
            break;
        }
    }
    // One after the other, so that each can hand its leaderships to those that still serve.
    while let Some(mut member) = members.pop() {
        terminate(&member.child);
        let wait = async {
            loop {
                if let Ok(Some(status)) = member.child.try_wait() {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            status = wait => {
                say(&format!("{} | stopped: {status}", member.id));
                broken.extend(complaint(member.id, status));
                continue;
            }
        }
        // Told twice.
        members.push(member);
        stop(&mut members);
    }
    match broken.first() {
        Some(first) => Err(Failure(first.clone())),
        None => Ok(()),
    }
}

fn file_of(id: u16, data: &Path) -> PathBuf {
    data.join(format!("node-{id}.properties"))
}

fn complaint(id: u16, status: ExitStatus) -> Option<String> {
    (!status.success()).then(|| format!("node {id} ended with {status}"))
}

fn start(id: u16, file: &PathBuf, more: &[String]) -> std::io::Result<Member> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .arg("--config")
        .arg(file)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own: ctrl-c is for the parent, which stops them in order.
        .process_group(0)
        .spawn()?;
    if let Some(stream) = child.stdout.take() {
        repeat(id, stream);
    }
    if let Some(stream) = child.stderr.take() {
        repeat(id, stream);
    }
    Ok(Member {
        id,
        child,
        since: Instant::now(),
    })
}

/// Prints what a node prints, each line with its number.
fn repeat(id: u16, stream: impl std::io::Read + Send + 'static) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            say(&format!("{id} | {line}"));
        }
    });
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It has not been waited for, so the number is still its own.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn stop(members: &mut [Member]) {
    for member in members {
        let _ = member.child.kill();
        let _ = member.child.wait();
    }
}
