"""Cassandra 5 from its Maven artifacts, on Java 17: a single node, and a cluster of three.

The jars come without the start script and the configuration of a distribution, so both are written
here. Nodes listen on addresses of their own in 127.0.0.0/8, all on the usual ports. Their time-outs
are long, for that a busy machine is slow is no story of most tests. `quick` shortens them, as
docs/deployment.md advises: a frozen node must not stop everybody for longer than clients wait.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers import directory

VERSION = "5.0.8"
PORT = 9042
ADDRESSES = {
    "cassandra-1": ("127.0.0.1",),
    "cassandra-3": ("127.0.0.11", "127.0.0.12", "127.0.0.13"),
}
NAMES = tuple(ADDRESSES)

TIMEOUT_MS, QUICK_TIMEOUT_MS = 10_000, 1_500
"""Of the servers' requests."""

READY_S = 240.0
"""A first node takes 7 s on an idle machine, a third one 16; several may share two cores."""

STOP_S = 20.0
HEAP_MIB = 512

POM = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>coppice</groupId><artifactId>cassandra</artifactId>
<version>1</version><dependencies><dependency><groupId>org.apache.cassandra</groupId>
<artifactId>cassandra-all</artifactId><version>{VERSION}</version></dependency></dependencies>
</project>
"""

CONFIGURATION = """\
cluster_name: {cluster}
num_tokens: 1
initial_token: {token}
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters: [{{seeds: "{seed}"}}]
listen_address: {address}
rpc_address: {address}
storage_port: 7000
native_transport_port: {port}
start_native_transport: true
auto_bootstrap: false
commitlog_sync: periodic
commitlog_sync_period: 10000ms
commitlog_segment_size: 16MiB
data_file_directories: [{home}/data]
commitlog_directory: {home}/commitlog
hints_directory: {home}/hints
saved_caches_directory: {home}/saved_caches
cdc_raw_directory: {home}/cdc
memtable_heap_space: 64MiB
memtable_offheap_space: 64MiB
file_cache_size: 32MiB
key_cache_size: 4MiB
concurrent_reads: 4
concurrent_writes: 8
auto_snapshot: false
read_request_timeout: {timeout_ms}ms
write_request_timeout: {timeout_ms}ms
cas_contention_timeout: {timeout_ms}ms
phi_convict_threshold: 5
disk_failure_policy: stop
commit_failure_policy: stop
paxos_variant: v2
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
"""

LOGGING = """\
<configuration><appender name="F" class="ch.qos.logback.core.FileAppender">
<file>${cassandra.logdir}/system.log</file>
<encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
</appender><root level="INFO"><appender-ref ref="F"/></root></configuration>
"""

# What the distribution's jvm17-server.options say.
EXPORTS = (
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
)
OPENS = (
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "jdk.compiler/com.sun.tools.javac",
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.nio",
)
FLAGS = (
    f"-Xms{HEAP_MIB}m",
    f"-Xmx{HEAP_MIB}m",
    "-Xss512k",
    "-XX:MaxDirectMemorySize=256m",
    "-XX:+UseG1GC",
    "-XX:+ParallelRefProcEnabled",
    "-XX:MaxTenuringThreshold=1",
    "-XX:G1HeapRegionSize=4m",
    "-Djdk.attach.allowAttachSelf=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Djava.security.manager=allow",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.useCacheForAllThreads=true",
    "-Dio.netty.allocator.maxOrder=11",
    "-Dcassandra-foreground=yes",
    "-Dcassandra.available_processors=2",
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=2000",
    "-Dcassandra.consistent.rangemovement=false",
)


def start(name: str, timeout_ms: int = TIMEOUT_MS) -> str:
    """Install what is missing and start the nodes that do not run, one after the other, with the
    data that they have if one of them runs."""
    library = _library()
    addresses = ADDRESSES[name]
    if not any(_running(name, address) for address in addresses):
        shutil.rmtree(directory() / name, ignore_errors=True)
    for index, address in enumerate(addresses):
        if not answers(address):
            _configure(name, index, timeout_ms)
            start_node(name, address, library)
            wait_ready(name, address)
    return _url(name)


def stop(name: str) -> None:
    for address in ADDRESSES[name]:
        stop_node(name, address)
    shutil.rmtree(directory() / name, ignore_errors=True)


@contextlib.contextmanager
def quick(name: str) -> Iterator[None]:
    """A server that runs has short time-outs inside. Started again for that, without its data."""
    stop(name)
    start(name, QUICK_TIMEOUT_MS)
    try:
        yield
    finally:
        stop(name)
        start(name)


def url(name: str) -> str | None:
    return _url(name) if all(answers(address) for address in ADDRESSES[name]) else None


def answers(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=1).close()
    except OSError:
        return False
    return True


# ---------------------------------------------------------------------------- one node

_started: list[subprocess.Popen[bytes]] = []
"""Nodes outlive the program, which must not complain about that."""


def start_node(name: str, address: str, library: Path | None = None) -> None:
    """Start a configured node with the data that it has; `wait_ready` waits for it."""
    home = _home(name, address)
    (home / "system.log").unlink(missing_ok=True)
    command = [
        _java(),
        *FLAGS,
        *(word for package in EXPORTS for word in ("--add-exports", f"{package}=ALL-UNNAMED")),
        *(word for package in OPENS for word in ("--add-opens", f"{package}=ALL-UNNAMED")),
        f"-Dcassandra.config=file://{home}/cassandra.yaml",
        f"-Dlogback.configurationFile=file:{home}/logback.xml",
        f"-Dcassandra.logdir={home}",
        f"-Dcassandra.storagedir={home}",
        "-cp",
        f"{home}:{library or _library()}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"MALLOC_ARENA_MAX": "4"},
        )
    _started.append(process)
    (home / "pid").write_text(str(process.pid))


def wait_ready(name: str, address: str) -> None:
    """Until the node's log says that it serves clients. Raises if the node ends instead."""
    home = _home(name, address)

    def ready() -> bool:
        if _running(name, address) is None:
            raise RuntimeError(f"{name}: the node at {address} ended; see {home}/output")
        log = home / "system.log"
        return log.exists() and "Starting listening for CQL clients" in log.read_text()

    _await(ready, READY_S, f"{name}: the node at {address} is not ready; see {home}/system.log")


def stop_node(name: str, address: str) -> None:
    pid = _running(name, address)
    if pid is None:
        return
    os.kill(pid, signal.SIGCONT)
    os.kill(pid, signal.SIGTERM)
    try:
        _await(lambda: _running(name, address) is None, STOP_S, "")
    except TimeoutError:
        signal_node(name, address, signal.SIGKILL)


def signal_node(name: str, address: str, number: signal.Signals) -> None:
    """Kill, freeze or thaw the node; a kill is over on return."""
    pid = _running(name, address)
    if pid is None:
        raise ProcessLookupError(f"{name}: no node runs at {address}")
    os.kill(pid, number)
    if number is signal.SIGKILL:
        _await(lambda: _running(name, address) is None, STOP_S, f"{name}: {pid} does not die")


def _running(name: str, address: str) -> int | None:
    """The process id of a node that runs. The id may be somebody else's by now."""
    home = _home(name, address)
    try:
        pid = int((home / "pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    starting = words == [b""] and state != "Z"  # between two programs it has no words for a moment
    return pid if starting or f"-Dcassandra.storagedir={home}".encode() in words else None


def _await(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def _configure(name: str, index: int, timeout_ms: int) -> None:
    addresses = ADDRESSES[name]
    home = _home(name, addresses[index])
    home.mkdir(parents=True, exist_ok=True)
    configuration = CONFIGURATION.format(
        cluster=name,
        address=addresses[index],
        seed=addresses[0],
        token=index * 2**64 // len(addresses) - 2**63,
        port=PORT,
        home=home,
        timeout_ms=timeout_ms,
    )
    (home / "cassandra.yaml").write_text(configuration)
    (home / "logback.xml").write_text(LOGGING)


def _home(name: str, address: str) -> Path:
    return directory() / name / address


def _url(name: str) -> str:
    addresses = ADDRESSES[name]
    hosts = ",".join(f"{address}:{PORT}" for address in addresses)
    return f"cql://{hosts}/coppice?replication={len(addresses)}"


# ---------------------------------------------------------------------------- installing


def _library() -> Path:
    """The folder of jars, fetched by Maven at the first call."""
    library = directory() / f"cassandra-{VERSION}"
    if not library.exists():
        partial = directory() / f"cassandra-{VERSION}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "pom.xml").write_text(POM)
        maven = _program("mvn", "maven")
        print(f"fetching Cassandra {VERSION}", file=sys.stderr, flush=True)
        subprocess.run(
            [
                maven, "--batch-mode", "--quiet", "dependency:copy-dependencies",
                "-DincludeScope=runtime", "-DoutputDirectory=lib",
            ],
            cwd=partial, check=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        (partial / "lib").rename(library)
        shutil.rmtree(partial)
    return library


def _java() -> str:
    """A Java 17: newer ones lack what Cassandra 5.0 needs."""
    found = [
        str(path)
        for pattern in ("java-17-*", "*temurin-17*", "*jdk-17*")
        for path in sorted(Path("/usr/lib/jvm").glob(f"{pattern}/bin/java"))
    ]
    return found[0] if found else _program("java", "openjdk-17-jre-headless")


def _program(name: str, package: str) -> str:
    """The path of a program, installed if it is missing and we may."""
    path = shutil.which(name)
    if path is None:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise RuntimeError(f"`{name}` is missing: install {package}")
        for words in ("update -qq", f"install -y -qq --no-install-recommends {package}"):
            subprocess.run(
                ["apt-get", *words.split()], check=True, stdout=subprocess.DEVNULL,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )  # fmt: skip
        path = shutil.which(name)
        assert path is not None, f"{package} has no {name}"
    return path
