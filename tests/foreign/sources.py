"""Foreign sources from the package registries, by name and version, unpacked and built below target/foreign."""

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from server import WORK

CRATES = {"rskafka": "0.6.0", "rdkafka": "0.39.0", "rdkafka-sys": "4.10.0"}
KAFKA_PYTHON = "3.0.12"
CONFLUENT_KAFKA = "2.16.1"
# Dependencies that a crate's lock file holds at a version which no longer compiles.
OUTDATED = {"rskafka": ["rsasl"]}
# What its fixtures ask of a broker that was there before them: nothing.
SERVICE = """
class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port

    def stop(self):
        pass


SpawnedService = None
"""
# For librdkafka's codecs and tests, and for the Java clients that rskafka is tested with; by a file of each.
SYSTEM = {
    "/usr/include/zstd.h": "libzstd-dev",
    "/usr/include/zlib.h": "zlib1g-dev",
    "/usr/include/rapidjson/schema.h": "rapidjson-dev",
    "/usr/bin/java": "default-jre-headless",
}


def call(command, cwd=None, log=None, **env):
    """Runs a step of a build; what it printed is shown if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if log:
        Path(log).write_text(done.stdout)
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
        raise SystemExit(f"{' '.join(str(part) for part in command)} failed with code {done.returncode}")
    return done.stdout


def crate(name):
    """The unpacked source of a crate, a copy of our own; cargo checks what it fetched."""
    version = CRATES[name]
    place = WORK / f"{name}-{version}"
    if place.exists():
        return place
    manifest = WORK / "fetch" / "Cargo.toml"
    (manifest.parent / "src").mkdir(parents=True, exist_ok=True)
    (manifest.parent / "src" / "lib.rs").touch()
    wanted = "\n".join(f'{name} = "={version}"' for name, version in CRATES.items())
    manifest.write_text(
        f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n{wanted}\n'
    )
    call(["cargo", "fetch"], cwd=manifest.parent)
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    found = glob.glob(f"{home}/registry/src/*/{name}-{version}*")
    if len(found) != 1:
        raise SystemExit(f"{name} {version} is in {len(found)} places: {found}")
    partial = place.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(found[0], partial)
    # A compiler of its own choice is not to be had, and our workspace is not its.
    (partial / "rust-toolchain.toml").unlink(missing_ok=True)
    if name != "rdkafka-sys":
        with open(partial / "Cargo.toml", "a") as text:
            text.write("\n[workspace]\n")
        for package in OUTDATED.get(name, []):
            call(["cargo", "update", "--package", package], cwd=partial)
    partial.rename(place)
    return place


def test_binaries(name, targets):
    """Builds the integration tests of a crate; their executables by name."""
    place = crate(name)
    install()
    wanted = [part for target in targets for part in ("--test", target)]
    printed = call(
        ["cargo", "test", "--locked", "--no-run", "--message-format=json", *wanted],
        cwd=place,
        CARGO_TARGET_DIR=str(WORK / "cargo"),
        CARGO_PROFILE_DEV_DEBUG="0",
        CARGO_PROFILE_TEST_DEBUG="0",
    )
    found = {}
    for line in printed.splitlines():
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["test"]:
            found[message["target"]["name"]] = message["executable"]
    return found


def install():
    """What is missing of the system's packages."""
    missing = [package for file, package in SYSTEM.items() if not os.path.exists(file)]
    if missing:
        command = ["apt-get", "install", "-y", "-q", *missing]
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            call(["apt-get", "update", "-q"])
            call(command)


def librdkafka(target):
    """librdkafka with its own build system, as the crate carries it; `target` is a path that the build makes."""
    place = crate("rdkafka-sys") / "librdkafka"
    if (place / target).exists():
        return place
    install()
    # Its configure takes any file configure.NAME of its directory for one of its own, so no log is written there.
    if not (place / "Makefile.config").exists():
        off = ["--disable-ssl", "--disable-gssapi", "--disable-curl", "--disable-lz4-ext"]
        call(["./configure", "--enable-zlib", "--enable-zstd", *off], cwd=place)
    jobs = f"-j{os.cpu_count()}"
    call(["make", jobs, "libs"], cwd=place)
    directory, goal = os.path.split(target)
    more = {"CPPFLAGS": "-DWITH_RAPIDJSON"} if directory == "tests" else {}
    call(["make", jobs, "-C", directory, "build" if directory == "tests" else goal], cwd=place, **more)
    if not (place / target).exists():
        raise SystemExit(f"librdkafka's build made no {target}")
    return place


def python(*packages):
    """A Python with these packages from PyPI, in an environment of its own."""
    place = WORK / "python"
    program = place / "bin" / "python"
    if not program.exists():
        venv.create(place, with_pip=True)
    done = place / "installed"
    have = done.read_text().splitlines() if done.exists() else []
    if missing := [package for package in packages if package not in have]:
        call([program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *missing])
        done.write_text("\n".join([*have, *missing]) + "\n")
    return program


def kafka_python():
    """The source distribution of kafka-python, which has the tests that its wheel leaves out."""
    place = WORK / f"kafka_python-{KAFKA_PYTHON}"
    if not place.exists():
        fetch = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
        call([sys.executable, *fetch, "-d", WORK, f"kafka-python=={KAFKA_PYTHON}"])
        shutil.unpack_archive(f"{place}.tar.gz", WORK)
        # Two modules that the distribution leaves out: without the first, `test` is Python's own package of that name.
        (place / "test" / "__init__.py").touch()
        (place / "test" / "service.py").write_text(SERVICE)
    return place


def listed_tests(source):
    """librdkafka's table of tests: name, flags and scenarios of each."""
    table = source[source.index("struct test tests[] = {") :]
    table = table[: table.index("\n    {NULL}};")]
    table = re.sub(r"/\*.*?\*/", "", table, flags=re.S)
    for entry in re.split(r"\b_TEST\(", table)[1:]:
        name, flags = re.match(r"\s*(\w+),\s*([\w |]+)", entry).groups()
        scenario = re.search(r'\.scenario\s*=\s*"([^"]*)"', entry)
        yield name, flags, (scenario.group(1) if scenario else "default").split(",")
