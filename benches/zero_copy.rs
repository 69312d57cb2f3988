//! Claim N04: is `sendfile` cheaper than read and write for fetch responses from the page cache?
//!
//! `cargo bench --bench zero_copy` sends responses of 1 MiB, each asked for when the one before has come, to another
//! process: over loopback and, where this user may make network namespaces, over a veth pair between two of them. The
//! socket does not block, as a broker's does not. One row a way of sending: system calls and CPU of the sender a MB,
//! CPU of the receiver, throughput; the median of interleaved rounds.

use cpu_time::ProcessTime;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Of one response, without its head.
const BODY_BYTES: usize = 1 << 20;
/// What a fetch response of one partition has around its records.
const HEAD_BYTES: usize = 100;
/// What a fetch request of one partition takes.
const REQUEST_BYTES: usize = 80;
/// Distinct bytes, so that they do not all come from the processor's own cache.
const FILE_BYTES: usize = 256 << 20;
/// What librdkafka sends at once when it is busy, and how much of it a broker writes on its own.
const BATCH_BYTES: usize = 999_917;
const HEADER_BYTES: usize = 61;
const RESPONSES: usize = 512;
const ROUNDS: usize = 5;
const WAYS: &[&str] = &["sendfile", "read, write; one buffer", "read, write; a buffer each"];
const NETWORK: &str = "10.213.77";

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", address] => receive(address),
        ["send", address, path, way] => send(address, Path::new(path), way.parse()?),
        _ => compare(),
    }
}

/// What one process says of one round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    calls: f64,
    cpu_s: f64,
    receiver_cpu_s: f64,
    wall_s: f64,
}

fn compare() -> Outcome<()> {
    let path = std::env::temp_dir().join(format!("highwater-zero-copy-{}", std::process::id()));
    write_log(&path)?;
    println!("| network | way | system calls/MB | sender core-s/GB | receiver core-s/GB | MB/s |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let result = table("loopback", "127.0.0.1", ["", ""], &path).and_then(|()| match Namespaces::new() {
        Ok(spaces) => table("veth", &format!("{NETWORK}.2"), spaces.names(), &path),
        Err(error) => {
            println!("veth: not measured, no network namespaces here: {error}");
            Ok(())
        }
    });
    std::fs::remove_file(&path)?;
    result
}

/// A file as appends leave it: a batch after the other, its header before its records.
fn write_log(path: &Path) -> std::io::Result<()> {
    let batch = vec![b'x'; BATCH_BYTES];
    let mut file = File::create(path)?;
    for _ in 0..FILE_BYTES.div_ceil(BATCH_BYTES) {
        let (header, records) = batch.split_at(HEADER_BYTES);
        file.write_all(header)?;
        file.write_all(records)?;
    }
    Ok(())
}

fn table(network: &str, host: &str, [sender, receiver]: [&str; 2], path: &Path) -> Outcome<()> {
    let mut rounds = vec![Vec::new(); WAYS.len()];
    for _ in 0..ROUNDS {
        for (way, rounds) in rounds.iter_mut().enumerate() {
            rounds.push(one(host, [sender, receiver], path, way)?);
        }
    }
    let mb = (RESPONSES * (HEAD_BYTES + BODY_BYTES)) as f64 / 1e6;
    for (name, mut rounds) in WAYS.iter().zip(rounds) {
        rounds.sort_by(|a, b| a.cpu_s.total_cmp(&b.cpu_s));
        let Round {
            calls,
            cpu_s,
            receiver_cpu_s,
            wall_s,
        } = rounds[ROUNDS / 2];
        println!(
            "| {network} | {name} | {:.1} | {:.2} | {:.2} | {:.0} |",
            calls / mb,
            cpu_s / mb * 1e3,
            receiver_cpu_s / mb * 1e3,
            mb / wall_s
        );
    }
    Ok(())
}

fn one(host: &str, [sender, receiver]: [&str; 2], path: &Path, way: usize) -> Outcome<Round> {
    let mut receiving = within(receiver, &["receive", &format!("{host}:0")])?;
    let mut said = BufReader::new(receiving.stdout.take().ok_or("its output is a pipe")?).lines();
    let address = said.next().ok_or("the receiver is gone")??;
    let path = path.to_str().ok_or("a path of letters")?;
    let sent = within(sender, &["send", &address, path, &way.to_string()])?.wait_with_output()?;
    let sent = String::from_utf8(sent.stdout)?;
    let cpu_s = said.next().ok_or("the receiver is gone")??.parse()?;
    receiving.wait()?;
    let numbers: Vec<f64> = sent.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [calls, sender_cpu_s, wall_s] = numbers[..] else {
        return Err("the sender is gone".into());
    };
    Ok(Round {
        calls,
        cpu_s: sender_cpu_s,
        receiver_cpu_s: cpu_s,
        wall_s,
    })
}

/// This program in a namespace, or where we are.
fn within(space: &str, args: &[&str]) -> std::io::Result<Child> {
    let own = std::env::current_exe()?;
    let mut command = if space.is_empty() {
        Command::new(own)
    } else {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", space]).arg(own);
        command
    };
    command.args(args).stdout(Stdio::piped()).spawn()
}

/// Asks for a response when it has the one before. Like the clients of Kafka it waits for a socket that does not block to
/// have something, takes what there is, and waits again.
fn receive(address: &str) -> Outcome<()> {
    let listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut response = vec![0; HEAD_BYTES + BODY_BYTES];
    let start = ProcessTime::try_now()?;
    for _ in 0..RESPONSES {
        stream.write_all(&[0; REQUEST_BYTES])?;
        let mut received = 0;
        while received < response.len() {
            match rustix::io::read(&stream, &mut response[received..]) {
                Ok(0) => return Err("the sender is gone".into()),
                Ok(more) => received += more,
                Err(Errno::AGAIN) => {
                    poll(&mut [PollFd::new(&stream, PollFlags::IN)], None)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

/// The broker's side of a connection; counts what it asks of the kernel.
struct Sender {
    stream: TcpStream,
    file: File,
    calls: u64,
}

impl Sender {
    /// Asks again while the socket is not ready.
    fn ready<T>(&mut self, flags: PollFlags, ask: impl Fn(&Sender) -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            self.calls += 1;
            match ask(self) {
                Err(Errno::AGAIN) => {
                    self.calls += 1;
                    poll(&mut [PollFd::new(&self.stream, flags)], None)?;
                }
                other => return other,
            }
        }
    }

    fn request(&mut self) -> Result<(), Errno> {
        let mut left = REQUEST_BYTES;
        while left > 0 {
            let read = self.ready(PollFlags::IN, |own| {
                rustix::io::read(&own.stream, &mut [0; REQUEST_BYTES][..left])
            })?;
            if read == 0 {
                return Err(Errno::CONNRESET);
            }
            left -= read;
        }
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let written = self.ready(PollFlags::OUT, |own| rustix::io::write(&own.stream, bytes))?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn send_file(&mut self, mut offset: u64) -> Result<(), Errno> {
        self.write(&[0; HEAD_BYTES])?;
        let end = offset + BODY_BYTES as u64;
        while offset < end {
            let left = (end - offset) as usize;
            let sent = self.ready(PollFlags::OUT, |own| {
                rustix::fs::sendfile(&own.stream, &own.file, Some(&mut { offset }), left)
            })?;
            offset += sent as u64;
        }
        Ok(())
    }

    fn read_and_write(&mut self, offset: u64, buffer: &mut Vec<u8>) -> Result<(), Errno> {
        buffer.clear();
        buffer.extend_from_slice(&[0; HEAD_BYTES]);
        buffer.reserve(BODY_BYTES);
        while buffer.len() < HEAD_BYTES + BODY_BYTES {
            let at = offset + (buffer.len() - HEAD_BYTES) as u64;
            self.calls += 1;
            // The vector may have more room than it was asked for.
            rustix::io::pread(&self.file, rustix::buffer::spare_capacity(buffer), at)?;
        }
        buffer.truncate(HEAD_BYTES + BODY_BYTES);
        self.write(buffer)
    }
}

fn send(address: &str, path: &Path, way: usize) -> Outcome<()> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut sender = Sender {
        stream,
        file: File::open(path)?,
        calls: 0,
    };
    let mut buffer = Vec::new();
    let (wall, cpu) = (Instant::now(), ProcessTime::try_now()?);
    for response in 0..RESPONSES {
        sender.request()?;
        // The last MiB is left alone, so that a read of a little more than one does not meet the end.
        let offset = (response * BODY_BYTES % (FILE_BYTES - BODY_BYTES)) as u64;
        match way {
            0 => sender.send_file(offset)?,
            1 => sender.read_and_write(offset, &mut buffer)?,
            _ => sender.read_and_write(offset, &mut Vec::new())?,
        }
    }
    let (cpu, wall) = (cpu.elapsed(), wall.elapsed());
    println!("{} {} {}", sender.calls, cpu.as_secs_f64(), wall.as_secs_f64());
    Ok(())
}

/// Two network namespaces with a pair of virtual cards between them; gone when dropped.
struct Namespaces([String; 2]);

impl Namespaces {
    fn new() -> Outcome<Namespaces> {
        let own = std::process::id();
        let spaces = Namespaces([format!("highwater-a{own}"), format!("highwater-b{own}")]);
        for name in spaces.names() {
            ip(&["netns", "add", name])?;
        }
        let [a, b] = spaces.names();
        let [left, right] = [&format!("hwa{own}")[..], &format!("hwb{own}")];
        ip(&[
            "link", "add", left, "netns", a, "type", "veth", "peer", "name", right, "netns", b,
        ])?;
        for (space, card, host) in [(a, left, "1"), (b, right, "2")] {
            let address = format!("{NETWORK}.{host}/24");
            ip(&["-n", space, "addr", "add", &address, "dev", card])?;
            ip(&["-n", space, "link", "set", card, "up"])?;
        }
        Ok(spaces)
    }

    fn names(&self) -> [&str; 2] {
        [&self.0[0], &self.0[1]]
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in self.names() {
            // One that was never made is none to take away.
            let _ = ip(&["netns", "del", name]);
        }
    }
}

fn ip(args: &[&str]) -> Outcome<()> {
    let done = Command::new("ip").args(args).output()?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).trim().into()),
    }
}
