"""The foreign suites: how each is built, which tests it has, what each test needs to run and when it has passed."""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import sources
from server import WORK


@dataclass
class Test:
    """One test, run in a process of its own."""

    name: str
    command: list
    # None takes a variable away.
    env: dict = field(default_factory=dict)
    cwd: Path = WORK
    # Seconds after which it is killed and has failed.
    limit: int = 120
    # What must stand in its output beside exit code 0: a test that skips itself has not passed.
    proof: str = ""
    # Which of the suite's clusters it talks to.
    cluster: str = "default"


class Suite:
    """What all suites are: a name, clusters by name with their properties, and tests."""

    name = ""
    nodes = 1
    clusters = {"default": {}}
    # Written into its tests; such a suite runs on a network of its own.
    port = None

    def build(self):
        """All that needs the registries, for a suite that runs where there are none."""

    def tests(self, bootstrap):
        """All tests of the suite, the denied ones too. `bootstrap` gives a cluster's addresses by its name."""
        raise NotImplementedError


def libtest(binaries, env, **more):
    """Tests of Rust's own harness."""
    for target, executable in sorted(binaries.items()):
        listed = subprocess.run([executable, "--list", "--format=terse"], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            name, _, kind = line.rpartition(": ")
            if kind == "test":
                command = [executable, "--exact", name, "--nocapture"]
                yield Test(f"{target}::{name}", command, env, proof="test result: ok. 1 passed", **more)


class Rskafka(Suite):
    name = "rskafka"
    # As in its own compose file.
    clusters = {"default": {"auto.create.topics.enable": "false"}}
    targets = ["client", "consumer", "produce_consume", "producer"]

    def tests(self, bootstrap):
        env = {
            "TEST_INTEGRATION": "1",
            "TEST_BROKER_IMPL": "kafka",
            "KAFKA_CONNECT": bootstrap("default"),
            "TEST_JAVA_INTEROPT": "1",
        }
        place = sources.crate("rskafka")
        binaries = sources.test_binaries("rskafka", self.targets)
        # The first test that needs Java fetches the clients for all; two at once would each find half of them.
        first = [binaries["produce_consume"], "--exact", "test_produce_java_consume_java_gzip"]
        subprocess.run(first, env={**os.environ, **env}, cwd=place, capture_output=True, timeout=300)
        yield from libtest(binaries, env, cwd=place)


class Rdkafka(Suite):
    name = "rdkafka"
    port = 9092
    # As in its own compose file.
    clusters = {"default": {"num.partitions": 3}}
    targets = [
        "test_admin",
        "test_high_consumers",
        "test_high_producers",
        "test_low_consumers",
        "test_low_producers",
        "test_metadata",
        "test_topic_partition_list",
        "test_transactions",
    ]

    def build(self):
        sources.test_binaries("rdkafka", self.targets)

    def tests(self, bootstrap):
        env = {"KAFKA_HOST": bootstrap("default"), "KAFKA_VERSION": "4.1"}
        place = sources.crate("rdkafka")
        yield from libtest(sources.test_binaries("rdkafka", self.targets), env, cwd=place)


class Librdkafka(Suite):
    """librdkafka's test programs; those that bring a mock cluster of their own (its flag LOCAL) judge no broker."""

    name = "librdkafka"
    # As in its own scenarios.
    nodes = 3
    clusters = {
        "default": {"num.partitions": 4, "default.replication.factor": 3},
        "noautocreate": {
            "num.partitions": 4,
            "default.replication.factor": 3,
            "auto.create.topics.enable": "false",
        },
    }
    # Programs whose parts need different things of a broker, and so are run part by part.
    in_parts = {
        "0011_produce_batch": "0011-produce_batch.c",
        "0022_consume_batch": "0022-consume_batch.c",
        "0026_consume_pause": "0026-consume_pause.c",
        "0081_admin": "0081-admin.c",
        "0137_barrier_batch_consume": "0137-barrier_batch_consume.c",
    }

    def tests(self, bootstrap):
        place = sources.librdkafka("tests/test-runner") / "tests"
        for scenario in self.clusters:
            servers = f"metadata.broker.list={bootstrap(scenario)}\ntest.topic.random=true\n"
            (WORK / f"librdkafka-{scenario}.conf").write_text(servers)
        for name, flags, scenarios in sources.listed_tests((place / "test.c").read_text()):
            if "TEST_F_LOCAL" in flags or "TEST_F_MANUAL" in flags:
                continue
            scenario = next(own for own in scenarios if own in self.clusters)
            for part in self.parts(place, name):
                yield self.one(place, name, scenario, part)

    def parts(self, place, name):
        if name not in self.in_parts:
            return [None]
        source = (place / self.in_parts[name]).read_text()
        functions = re.findall(r"^(?:static \w+ )?(\w+)\([^;{}]*\) \{\n(.*?)^\}", source, flags=re.M | re.S)
        return [function for function, body in functions if "SUB_TEST" in body]

    def one(self, place, name, scenario, part):
        env = {
            "TESTS": name.split("_")[0],
            "TEST_KAFKA_VERSION": "4.1.0",
            "TEST_SCENARIO": scenario,
            "RDKAFKA_TEST_CONF": str(WORK / f"librdkafka-{scenario}.conf"),
            # Not one that the system has.
            "LD_LIBRARY_PATH": f"{place.parent / 'src'}:{place.parent / 'src-cpp'}",
            # In CI it would wait three times as long for what does not come.
            "CI": None,
        }
        proof = rf"\| *(?:\033\[[\d;]*m)? *{name} +\| +PASSED \|"
        if part:
            env["SUBTESTS"] = f"{part}:"
            proof = rf"\[ {part}:\d+.*: PASS .*(?:.*\n)*.*{proof}"
        command = ["./test-runner", "-p1", "-L", "-s", scenario]
        label = f"{name}/{part}" if part else name
        return Test(label, command, env, place, limit=400, proof=proof, cluster=scenario)


class KafkaPython(Suite):
    name = "kafka-python"
    clusters = {"default": {"num.partitions": 4}}

    def tests(self, bootstrap):
        place = sources.kafka_python()
        python = sources.python(f"kafka-python[crc32c,lz4,snappy,zstd,testing]=={sources.KAFKA_PYTHON}")
        env = {
            "KAFKA_URI": f"kafka://{bootstrap('default')}",
            "KAFKA_VERSION": "4.1.0",
            # Its fixtures want to see where Kafka is installed, and do not look into it.
            "KAFKA_ROOT": str(place),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(place),
        }
        pytest = [python, "-m", "pytest", "-p", "no:cacheprovider"]
        listed = sources.call([*pytest, "--collect-only", "-q", "test/integration"], cwd=place, **env)
        for line in listed.splitlines():
            if "::" in line:
                label = line.removeprefix("test/integration/").replace("_integration.py", "")
                yield Test(label, [*pytest, "-q", line], env, place, proof=r"\b1 passed")


SUITES = {suite.name: suite for suite in (Rskafka, Rdkafka, Librdkafka, KafkaPython)}
