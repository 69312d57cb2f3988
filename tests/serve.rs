//! The binary as a broker: real sockets, real files, real signals.

#[path = "common/clients.rs"]
mod clients;
#[path = "common/cluster.rs"]
mod cluster;
#[path = "common/command.rs"]
mod command;
#[path = "serve/interchange.rs"]
mod interchange;
#[path = "serve/processes.rs"]
mod processes;
#[path = "common/record.rs"]
mod record;
#[path = "common/server.rs"]
mod server;

use command::{code, highwater, out, scratch};
use highwater::serve::cluster::properties;
use kafka_protocol::messages::ApiVersionsRequest;
use server::{Client, Server, free_cluster_port, free_ports, until, values};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

#[test]
fn a_clean_stop_leaves_its_marker_and_a_restart_keeps_the_data() {
    let dir = scratch("serve_clean");
    let first = Server::alone(&dir, &[]);
    let mut client = Client::connect(first.port);
    client.create("t", 1, 1);
    assert_eq!(client.produce_all("t", &values("a", 10)), 0);
    let printed = first.stop();
    assert!(printed.contains("a fresh directory"), "{printed}");
    assert!(dir.join("data/.kafka_cleanshutdown").exists());
    let meta = std::fs::read_to_string(dir.join("data/meta.properties")).expect("formatted");
    assert!(meta.contains("cluster.id=test") && meta.contains("node.id=1"), "{meta}");

    let second = Server::alone(&dir, &[]);
    let mut client = Client::connect(second.port);
    let read = until("the log", || client.read("t", 0).ok().filter(|read| !read.is_empty()));
    let expected: Vec<(i64, String)> = (0..).zip(values("a", 10)).collect();
    assert_eq!(read, expected);
    assert_eq!(client.produce_all("t", &values("b", 1)), 10);
    assert!(!dir.join("data/.kafka_cleanshutdown").exists(), "believed once");
    assert!(second.stop().contains("after a clean stop"));
}

#[test]
fn kill_9_keeps_what_was_acknowledged() {
    let dir = scratch("serve_kill");
    let first = Server::alone(&dir, &[]);
    let mut client = Client::connect(first.port);
    client.create("t", 1, 1);
    for at in 0..20 {
        client.produce_all("t", &values(&format!("r{at}"), 50));
    }
    let before = client.read("t", 0).expect("it leads");
    assert_eq!(before.len(), 1_000);
    first.kill();
    let second = Server::alone(&dir, &[]);
    let mut client = Client::connect(second.port);
    let after = until("the log", || client.read("t", 0).ok().filter(|read| !read.is_empty()));
    assert_eq!(after, before);
    assert!(second.printed().contains("after an unclean stop"));
}

#[test]
fn one_process_at_a_time_has_a_directory() {
    let dir = scratch("serve_lock");
    let first = Server::alone(&dir, &[]);
    Client::connect(first.port);
    let mut second = Server::alone(&dir, &[]);
    assert_eq!(second.wait().code(), Some(6));
    assert!(
        second.printed().contains("is in use by another process"),
        "{}",
        second.printed()
    );
    first.stop();
    let third = Server::alone(&dir, &[]);
    Client::connect(third.port);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // Two controllers, one of which dies: the other has nobody to ask whether it may leave, and waits.
    let dir = scratch("serve_twice");
    let base = free_cluster_port(2);
    let mut servers = [1, 2].map(|id| {
        let file = dir.join(format!("node-{id}.properties"));
        let text = properties(id, 2, base, &dir) + "controlled.shutdown.timeout.ms=3600000\n";
        std::fs::write(&file, text).expect("written");
        Server::of_file(base + 100 * (id - 1), &file, &dir)
    });
    for server in &servers {
        Client::connect(server.port);
    }
    servers[1].signal("-KILL");
    servers[1].wait();
    servers[0].signal("-TERM");
    until("a line", || {
        servers[0].printed().contains("was asked to stop").then_some(())
    });
    servers[0].signal("-INT");
    assert_eq!(servers[0].wait().code(), Some(130), "{}", servers[0].printed());
}

#[test]
fn bad_properties_are_errors_with_their_line() {
    let dir = scratch("serve_bad");
    let file = dir.join("server.properties");
    let good = "process.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n\
                controller.listener.names=CONTROLLER\ncontroller.quorum.voters=1@127.0.0.1:2\nlog.dirs=/dev/null/none\n";
    let cases = [
        (
            "num.partition=3",
            ":7: property `num.partition` is not known: did you mean `num.partitions`?",
        ),
        (
            "num.partitions=zero",
            ":7: property `num.partitions` is not a whole number: `zero`",
        ),
        (
            "min.insync.replicas=0",
            ":7: property `min.insync.replicas` must be between 1 and 100, not 0",
        ),
        ("broker.id=1", "`node.id` is right"),
        (
            "node.id=7",
            "does not have this node, which is a controller: add 7@HOST:PORT",
        ),
        ("process.roles=leader", "only broker and controller can be"),
        ("listeners=127.0.0.1:9092", "write NAME://HOST:PORT"),
        (
            "listeners=PLAINTEXT://127.0.0.1:1",
            "has no listener of `controller.listener.names`",
        ),
        (
            "listeners=PLAINTEXT://:1,CONTROLLER://:2",
            "`advertised.listeners` must say where clients find this node",
        ),
        ("controller.quorum.voters=1:127.0.0.1:2", "write ID@HOST:PORT"),
        ("log.dirs=a,b", "must be one directory"),
        ("log.retention.hours=soon", "is not a whole number: `soon`"),
        (
            "listener.security.protocol.map=PLAINTEXT:SSL",
            "only PLAINTEXT is served",
        ),
        (
            "listeners=SSL://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
            "has SSL, which speaks SSL: only PLAINTEXT is served",
        ),
        (
            "unclean.leader.election.enable=maybe",
            "must be false or true, not `maybe`",
        ),
        ("metrics.listener=9100", "write HOST:PORT"),
        ("connections.max.idle.ms=soon", "is not a whole number: `soon`"),
        ("what is this", "write NAME=VALUE"),
    ];
    for (line, expected) in cases {
        std::fs::write(&file, format!("{good}{line}\n")).expect("written");
        let output = highwater(&["serve", "--config", file.to_str().expect("utf-8")]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(code(&output), 2, "{line}: {text}");
        assert!(
            text.contains(expected) && text.contains("server.properties:"),
            "{line}: {text}"
        );
    }
    // A misspelt name is told before what is missing because of it; what no listener is called may be mapped.
    std::fs::write(&file, "process.role=broker\n").expect("written");
    let output = highwater(&["serve", "--config", file.to_str().expect("utf-8")]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `process.roles`?"));
    assert_eq!(code(&highwater(&["serve", "--log", "loud"])), 2);
    let good = format!("{good}listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL\n");
    std::fs::write(&file, good).expect("written");
    let output = highwater(&["serve", "--config", file.to_str().expect("utf-8")]);
    assert_eq!(code(&output), 6, "what is right but for the machine is no bad input");
}

#[test]
fn help_says_what_serve_takes() {
    let help = out(&highwater(&["serve", "--help"]));
    for option in ["--config", "--set", "--cluster", "--metrics", "127.0.0.1:9092"] {
        assert!(help.contains(option), "{help}");
    }
    let list = out(&highwater(&["serve", "--properties"]));
    for line in [
        "min.insync.replicas=1",
        "log.dirs=",
        "# log.retention.hours: log.retention.ms in another unit",
    ] {
        assert!(list.lines().any(|found| found == line), "no `{line}` in {list}");
    }
}

#[test]
fn the_example_files_are_those_that_the_command_writes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/serve");
    for id in 1..=3 {
        let path = root.join(format!("node-{id}.properties"));
        let text = properties(id, 3, 9092, Path::new("./highwater-data"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("an example file"), text);
    }
}

#[test]
fn bytes_that_are_no_frames_hurt_their_own_connection_only() {
    let dir = scratch("serve_hostile");
    let server = Server::alone(&dir, &["socket.request.max.bytes=1000000"]);
    let mut good = Client::connect(server.port);
    good.call(ApiVersionsRequest::default());
    for hostile in [
        &[0xff, 0xff, 0xff, 0xff, 1][..],
        &[0x7f, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        let mut bad = Client::connect(server.port);
        bad.send(hostile).expect("taken");
        assert!(bad.receive().is_err(), "{hostile:?} ends the connection");
    }
    good.call(ApiVersionsRequest::default());
    until("a line for each", || {
        (server.printed().matches("closed the connection of").count() == 3).then_some(())
    });
}

#[test]
fn an_idle_connection_is_closed() {
    let dir = scratch("serve_idle");
    let server = Server::alone(&dir, &["connections.max.idle.ms=300"]);
    let mut silent = Client::connect(server.port);
    let mut used = Client::connect(server.port);
    used.call(ApiVersionsRequest::default());
    assert!(silent.receive().is_err(), "it never said anything");
    assert!(used.receive().is_err(), "nor did this one, after its answer");
    Client::connect(server.port).create("t", 1, 1);
    server.stop();
}

#[test]
fn metrics_are_served_under_kafkas_names() {
    let dir = scratch("serve_metrics");
    let [port] = free_ports();
    let server = Server::alone(&dir, &[&format!("metrics.listener=127.0.0.1:{port}")]);
    let mut client = Client::connect(server.port);
    client.create("t", 2, 1);
    client.produce_all("t", &values("a", 7));
    let get = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("taken");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    };
    // Produced was to the first partition; the second has a log of its own to make.
    let both_lead = "kafka_server_replicamanager_leadercount 2";
    let text = until("both partitions to be led", || {
        Some(get("/metrics")).filter(|text| text.contains(both_lead))
    });
    for line in [
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_server_replicamanager_isrshrinks_total 0",
        "kafka_log_log_logendoffset{topic=\"t\",partition=\"0\"} 7",
        "kafka_cluster_partition_highwatermark{topic=\"t\",partition=\"0\"} 7",
        "kafka_log_log_logendoffset{topic=\"t\",partition=\"1\"} 0",
        "kafka_server_brokertopicmetrics_messagesin_total 7",
        "kafka_network_requestmetrics_totaltimems_count{request=\"Produce\"} ",
        "kafka_controller_kafkacontroller_activecontrollercount 1",
        "kafka_server_kafkaserver_brokerstate 3",
    ] {
        assert!(text.contains(line), "no `{line}` in {text}");
    }
    assert!(get("/").starts_with("HTTP/1.1 404"));
}
