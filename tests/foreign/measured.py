"""What the benches measure with: librdkafka's benchmark program, the CPU of processes, and `benches/floor.rs`, the least
that a broker can do."""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import sources
from server import ROOT, Node, brokers, free_ports, until

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(nodes):
    """CPU seconds of these processes so far."""
    total = 0
    for node in nodes:
        fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def perf(program, server, topic, *args, within=()):
    """One run of rdkafka_performance: records, bytes and seconds from the first to the last of them."""
    command = [program, "-b", server.bootstrap, "-t", topic, "-p", "0", "-q", *args]
    printed = sources.call([*within, "timeout", "120", *command])
    patterns = [
        r"\((\d+) bytes\), (?P<records>\d+) delivered \(offset \d+, 0 failed\) in (\d+)ms",
        r"% (?P<records>\d+) messages \((\d+) bytes\) consumed in (\d+)ms",
    ]
    for pattern in patterns:
        if found := re.findall(pattern, printed):
            numbers = [int(number) for number in found[-1]]
            records, size = (numbers[1], numbers[0]) if pattern is patterns[0] else numbers[:2]
            return records, size, numbers[2] / 1e3
    raise SystemExit(f"no figures in {printed[-2000:]}")


class Floor:
    """Ready when it answers; `within` is a command that runs it elsewhere, such as in a network namespace."""

    def __init__(self, *ways, host="127.0.0.1", within=()):
        self.dir = Path(tempfile.mkdtemp(prefix="highwater-floor-"))
        [port] = free_ports(1)
        self.bootstrap = f"{host}:{port}"
        program = ROOT / "target" / "release" / "examples" / "floor"
        self.nodes = [Node([*within, program, self.bootstrap, self.dir, *ways], port, self.dir / "output")]
        try:
            if within:
                # Nobody here can ask it; a client that comes too early tries again by itself.
                time.sleep(0.3)
            else:
                until("the floor server", lambda: brokers(port), pause=0.002)
        except BaseException:
            self.end()
            raise
        self.ready_after = time.monotonic() - self.nodes[0].started

    def end(self):
        for node in self.nodes:
            node.end()
        shutil.rmtree(self.dir, ignore_errors=True)
