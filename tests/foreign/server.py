"""`highwater serve` as a process: free ports, a data directory of its own, killed at the end."""

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# All that is fetched or built here; nothing of it is ever committed.
WORK = ROOT / "target" / "foreign"
PATIENCE = 60
METADATA = 3


def binary():
    """The release binary, built if it is not there; HIGHWATER names another one."""
    given = os.environ.get("HIGHWATER")
    path = Path(given) if given else ROOT / "target" / "release" / "highwater"
    if not path.exists():
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    return path


def free_ports(count):
    """Ports that are free now."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def brokers(port, timeout=1.0):
    """How many brokers Metadata names, asked with bytes of our own; an error where nobody answers."""
    # Version 1, correlation id 1, no client id, no topic.
    body = struct.pack(">hhih", METADATA, 1, 1, -1) + struct.pack(">i", 0)
    with socket.create_connection(("127.0.0.1", port), timeout) as peer:
        peer.settimeout(timeout)
        peer.sendall(struct.pack(">i", len(body)) + body)
        with peer.makefile("rb") as stream:
            size = struct.unpack(">i", stream.read(4))[0]
            answer = stream.read(size)
    return struct.unpack(">i", answer[4:8])[0]


def until(what, ask, patience=PATIENCE, pause=0.02):
    """Asks again until the answer is true."""
    end = time.monotonic() + patience
    while True:
        try:
            if answer := ask():
                return answer
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(pause)


class Node:
    """One process."""

    def __init__(self, command, port, log):
        self.port = port
        self.log = log
        self.started = time.monotonic()
        with open(log, "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    @property
    def pid(self):
        return self.process.pid

    def end(self):
        """Killed: a suite leaves nothing behind that is worth an orderly end."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()


class Cluster:
    """One node or several, ready when Metadata names them all."""

    def __init__(self, nodes=1, properties=(), first=0, port=None):
        self.dir = Path(tempfile.mkdtemp(prefix="highwater-foreign-"))
        self.nodes = []
        program = binary()
        ports = free_ports(2 * nodes)
        clients, controllers = ports[:nodes], ports[nodes:]
        if port:
            clients[0] = port
        voters = ",".join(f"{first + at}@127.0.0.1:{port}" for at, port in enumerate(controllers))
        try:
            for at in range(nodes):
                listeners = f"PLAINTEXT://127.0.0.1:{clients[at]},CONTROLLER://127.0.0.1:{controllers[at]}"
                name = f"node-{first + at}"
                own = {
                    "node.id": first + at,
                    "listeners": listeners,
                    "controller.quorum.voters": voters,
                    "cluster.id": "highwater-foreign-test",
                    "log.dirs": self.dir / name,
                }
                own.update(properties)
                command = [program, "serve"]
                for key, value in own.items():
                    command += ["--set", f"{key}={value}"]
                self.nodes.append(Node(command, clients[at], self.dir / f"{name}.log"))
            until("a cluster that answers", self.is_complete, pause=0.002)
        except BaseException:
            print(self.logs(), file=sys.stderr)
            self.end()
            raise
        self.ready_after = time.monotonic() - self.nodes[-1].started

    def is_complete(self):
        for node in self.nodes:
            if node.process.poll() is not None:
                raise RuntimeError(f"the server ended: {node.log.read_text()}")
        return all(brokers(node.port) == len(self.nodes) for node in self.nodes)

    @property
    def bootstrap(self):
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def logs(self):
        return "".join(f"-- {node.log.name}\n{node.log.read_text()}" for node in self.nodes)

    def ended(self):
        """Nodes that ended by themselves, with what they said last."""
        return [(node.process.returncode, node.log.read_text()[-2000:]) for node in self.nodes if node.process.poll() is not None]

    def end(self):
        for node in self.nodes:
            node.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
