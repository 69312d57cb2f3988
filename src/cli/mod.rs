//! The command line: parse, call, exit code.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | as expected |
//! | 1 | a check or property was broken, or an expected violation was not found |
//! | 2 | bad input or usage |
//! | 3 | the same seed gave two digests |
//! | 4 | the healed cluster did not converge |
//! | 5 | a mark was not reached within its duty |
//! | 6 | the machine failed us, or a search was cut: neither pass nor fail |
//! | 7 | the cluster refuses a step of a path: it is stricter than the specification |
//! | 130 | `serve` was told twice to stop, and did not wait for the end |

mod check;
mod explore;
mod files;
mod html;
mod inspect;
mod lesson;
mod path;
mod plain;
mod play;
mod replay;
mod report;
mod serve;
mod step;
mod sweep;

use clap::{Args, CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Deterministic simulation testbed around a real Kafka-compatible broker.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 as expected; 1 a check broken, or an expected violation not found; 2 bad input; \
3 the same seed gave two digests; 4 not converged; 5 a mark not reached within its duty; 6 the machine failed us, or a \
search was cut; 7 the cluster refuses a step of a path (`replay --path`); 130 told twice to stop (`serve`).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Be a Kafka broker, on real sockets and files
    Serve(serve::ServeArgs),
    /// Run scenarios over many seeds and say what holds and what does not (the default, over scenarios/)
    Sweep(SweepArgs),
    /// Run one seed of one scenario again, exactly
    Replay(ReplayArgs),
    /// Draw charts of what `sweep --out DIR` or `replay --out DIR` left in a directory
    Report {
        /// The directory; report.html is written there
        dir: PathBuf,
    },
    /// List the lessons
    Lessons,
    /// Watch a lesson: in the terminal step by step, or as text where there is none
    Lesson(LessonArgs),
    /// Visit every state of a specification within a scenario's bounds (by default, of all in scenarios/)
    Check(CheckArgs),
    /// Walk through a scenario's specification in the browser
    Explore {
        /// Scenario file
        file: PathBuf,
        /// Port on the loopback interface
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
    /// Drive a cluster by hand, in the browser: moves, undo, what if
    Play {
        /// Scenario file whose cluster it is, and whose script is the first moves [default: three brokers]
        file: Option<PathBuf>,
        /// The seed: how long things take, and whatever else chance decides
        #[arg(long, env = "SIM_SEED", default_value_t = 0)]
        seed: u64,
        /// Port on the loopback interface; 0 for any that is free
        #[arg(long, default_value_t = 3001)]
        port: u16,
    },
    /// Validate scenario files
    Lint {
        /// Scenario files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of scenario files
    Schema,
    /// List every check, with its source
    Checks,
    /// Print shell completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page
    Man,
}

/// Arguments of `sweep`.
#[derive(Debug, Default, Args)]
struct SweepArgs {
    /// Scenario files or directories of them [default: scenarios/]
    files: Vec<PathBuf>,
    /// Seeds for each scenario [default: as many as the time allows]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// First seed
    #[arg(long, env = "SIM_SEED")]
    seed: Option<u64>,
    /// Time for the whole sweep, such as 90s, 10m, 2h [default: 60s, where no number of seeds is given]
    #[arg(long, value_parser = sweep::parse_time)]
    time: Option<std::time::Duration>,
    /// Worker threads [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Run only part I of N, from 1: `2/8`
    #[arg(long, value_parser = sweep::parse_shard)]
    shard: Option<(u64, u64)>,
    /// Write summary.json and failures into this directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print a JSON line for each seed instead of the table
    #[arg(long)]
    json: bool,
    /// Write a JUnit report
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Stop a scenario at its first failing seed
    #[arg(long)]
    fail_fast: bool,
    /// Go on where the expected violation has been found, so that every seed gives its digest
    #[arg(long, conflicts_with = "fail_fast")]
    every_seed: bool,
    /// Hold every seed against the specification, where that covers the scenario [default: one in eight]
    #[arg(long)]
    conform: bool,
    /// Run every seed twice and compare the digests
    #[arg(long)]
    twice: bool,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
struct ReplayArgs {
    /// Scenario file
    file: PathBuf,
    /// The seed [default with --path: 0, with --play: that of the recording]
    #[arg(long, env = "SIM_SEED", required_unless_present_any = ["path", "play"])]
    seed: Option<u64>,
    /// Follow a counterexample of the specification, as `check --out` writes it, on the cluster of the scenario
    #[arg(long, conflicts_with_all = ["trace", "until", "log", "step", "record", "play", "out"])]
    path: Option<PathBuf>,
    /// Leave the scenario's rules off
    #[arg(long, requires = "path")]
    without_rules: bool,
    /// Write every step and note as JSON lines
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Write run.json, which `report` draws, into this directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// Hold every step against the specification
    #[arg(long)]
    conform: bool,
    /// Stop after this step, or after this simulated time, such as 7.3065s
    #[arg(long, value_parser = replay::parse_until)]
    until: Option<crate::run::Until>,
    /// Print what the machines say: `info` for decisions, `debug` for every note, `trace` for every step
    #[arg(long, value_parser = ["info", "debug", "trace"])]
    log: Option<String>,
    /// Walk through it in the terminal, forward and back
    #[arg(long)]
    step: bool,
    /// Write it as one HTML file, to watch in a browser and to pass on
    #[arg(long, conflicts_with_all = ["trace", "out", "log", "step", "record"])]
    html: Option<PathBuf>,
    /// Print it as text: the script's steps, what turned between them, pictures of the logs
    #[arg(long, conflicts_with_all = ["step", "log", "trace", "record", "path", "out"])]
    plain: bool,
    /// Write what every random stream drew
    #[arg(long)]
    record: Option<PathBuf>,
    /// Play recorded draws instead of the seed's
    #[arg(long)]
    play: Option<PathBuf>,
}

/// Arguments of `lesson`.
#[derive(Debug, Args)]
struct LessonArgs {
    /// Its name, as `highwater lessons` lists it
    name: String,
    /// Step by step in the terminal, forward and back [default in a terminal]
    #[arg(long)]
    step: bool,
    /// As text of 80 columns [default elsewhere]
    #[arg(long, conflicts_with = "step")]
    plain: bool,
    /// As one HTML file, to watch in a browser and to pass on
    #[arg(long, conflicts_with_all = ["step", "plain"])]
    html: Option<PathBuf>,
    /// The seed: it draws delays, not what the script does
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
struct CheckArgs {
    /// Scenario files or directories of them [default: scenarios/, and scenarios/model/ or scenarios/code/]
    files: Vec<PathBuf>,
    /// Search the real machines, not the specifications
    #[arg(long)]
    code: bool,
    /// Worker threads [default: all cores]
    #[arg(long)]
    workers: Option<usize>,
    /// Whether states that are alike up to the names of replicas count as one [default: as the scenario says]
    #[arg(long, value_parser = ["on", "off"])]
    symmetry: Option<String>,
    /// Give up beyond this many distinct states
    #[arg(long)]
    max_states: Option<u64>,
    /// Give up beyond this much memory, in GiB
    #[arg(long, default_value_t = 6.0, value_parser = check::parse_gib)]
    max_memory: f64,
    /// Give up beyond this many states on a trace
    #[arg(long)]
    max_depth: Option<u32>,
    /// Give up a scenario after this time, such as 90s, 10m, 2h
    #[arg(long, value_parser = sweep::parse_time)]
    max_time: Option<std::time::Duration>,
    /// Print a JSON line for each scenario instead of the table
    #[arg(long)]
    json: bool,
    /// Write a JUnit report
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Write counterexamples into this directory
    #[arg(long)]
    out: Option<PathBuf>,
    /// List what can be searched with its bounds, and stop
    #[arg(long)]
    list: bool,
}

/// A command that cannot do what it was asked; the text is complete.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// For standard error.
    pub text: String,
}

impl From<crate::scenario::BadInput> for Failure {
    fn from(error: crate::scenario::BadInput) -> Failure {
        Failure {
            code: 2,
            text: error.to_string(),
        }
    }
}

impl Failure {
    fn only_model() -> Failure {
        Failure {
            code: 2,
            text: "no seed runs here: the scenario asks the specification (`highwater check`), and its cluster, if it has \
                   one, follows paths (`highwater replay --path`)"
                .to_owned(),
        }
    }

    fn machine(what: &str, error: &std::io::Error) -> Failure {
        Failure {
            code: 6,
            text: format!("{what}: {error}"),
        }
    }
}

/// A text that cannot be printed ends the process with code 6, whatever it would have said: in silence where the reader
/// has seen enough (`highwater lessons | head`), otherwise with the reason.
fn end_when_printing_fails() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // The words of `print!`: it has no other way to tell.
        let Some(why) = info
            .payload_as_str()
            .and_then(|text| text.strip_prefix("failed printing to stdout: "))
        else {
            return usual(info);
        };
        if !why.starts_with("Broken pipe") {
            eprintln!("highwater: cannot print: {why}");
        }
        std::process::exit(6);
    }));
}

/// Runs the command of this process; gives its exit code.
pub fn main() -> u8 {
    end_when_printing_fails();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return code;
        }
    };
    let result = match cli.command.unwrap_or_else(|| Command::Sweep(SweepArgs::default())) {
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Report { dir } => report::report(&dir),
        Command::Lessons => lesson::list(),
        Command::Lesson(args) => lesson::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Explore { file, port } => explore::explore(&file, port),
        Command::Play { file, seed, port } => play::play(file.as_deref(), seed, port),
        Command::Lint { files } => inspect::lint(&files),
        Command::Schema => inspect::schema(),
        Command::Checks => inspect::checks(),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "highwater", &mut text);
            print!("{}", String::from_utf8_lossy(&text));
            Ok(0)
        }
        Command::Man => inspect::man(Cli::command()),
    };
    result.unwrap_or_else(|failure| {
        eprintln!("highwater: {}", failure.text);
        failure.code
    })
}
