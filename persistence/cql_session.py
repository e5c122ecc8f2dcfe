"""Requests to a CQL cluster: their statements, their consistency, and which are sent again.

The driver's own retry policy sends writes that are not idempotent to a second host, which carries
them out twice. Here it never retries. Reads and idempotent writes are sent again by this module;
conditional writes never are: their outcome is settled by the log's epochs.

Requests give up after `REQUEST_S`, above the servers' own time-outs (1.5 s is advised) and below
the deadlines of those who ask. A frozen node answers and refuses nothing, so a host that let
a request time out is asked last for a while: what settles an outcome must not run into it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import trio
from cassandra import ConsistencyLevel, DriverException, OperationTimedOut
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    FallthroughRetryPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage
from cassandra.query import (
    BatchStatement,
    BatchType,
    PreparedStatement,
    dict_factory,
    tuple_factory,
)

from persistence import migrations
from persistence.cql_bridge import Bridge
from persistence.cql_outcomes import is_mistake, translated
from persistence.cql_settings import CqlSettings, keyspace_statement
from persistence.errors import StoreUnavailable
from persistence.migrations import Applied
from persistence.sharing import SharedReads

REQUEST_S = 2.0
CONNECT_S = 2.0
SCHEMA_S = 60.0
"""Schema changes wait for every node to agree."""

HEARTBEAT_S = 2.0
"""Between heartbeats of an idle connection, and for their answers."""

RECONNECT_S = 1.0

SUSPECTED_S = 5.0
"""How long a host that let a request time out is asked last. By then heartbeats know better."""

SECOND_READ_S = 0.5
"""A read without an answer until then is sent to another replica as well."""

ATTEMPTS_MAX = 3
"""Of a read, and of a write that may be carried out twice."""

_READ, _SERIAL_READ, _WRITE, _CONDITIONAL = "read", "serial read", "write", "conditional"

Rows = Sequence[tuple[Any, ...]]
Bound = tuple[PreparedStatement, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Statements:
    """Every statement of the log, prepared; each carries its routing key."""

    claim: PreparedStatement
    open: PreparedStatement
    fence: PreparedStatement
    move: PreparedStatement
    insert: PreparedStatement
    rewrite: PreparedStatement
    raise_old: PreparedStatement
    newest: PreparedStatement
    page_down: PreparedStatement
    page_up: PreparedStatement
    kinds: PreparedStatement
    at: PreparedStatement
    put_cid: PreparedStatement
    cids: PreparedStatement
    put_target: PreparedStatement
    targets: PreparedStatement
    put_recv: PreparedStatement
    put_read: PreparedStatement
    put_read_n: PreparedStatement
    cursors: PreparedStatement
    cursors_of: PreparedStatement
    put_bucket: PreparedStatement
    bucket: PreparedStatement


_STANDING = "epoch, head, head_n, head_ts_ms, meta_seq, msg_seq"
_EVENT = "seq, n, kind, sender, ts_ms, body, cid, digest, target"
_HERE = "thread = ? AND bucket = ?"

TEXTS = {
    "claim": f"UPDATE events SET epoch = ? WHERE {_HERE} IF epoch = ?",
    "open": "UPDATE events SET epoch = ?, head = ?, head_n = ?, head_ts_ms = ?, meta_seq = ?,"
    f" msg_seq = ? WHERE {_HERE} IF epoch = null",
    "fence": f"SELECT DISTINCT {_STANDING}, aside FROM events WHERE {_HERE}",
    "move": "UPDATE events SET head = ?, head_n = ?, head_ts_ms = ?, meta_seq = ?, msg_seq = ?,"
    f" aside = ? WHERE {_HERE} IF epoch = ? AND head = ?",
    "insert": f"INSERT INTO events (thread, bucket, {_EVENT})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "rewrite": f"UPDATE events SET body = ? WHERE {_HERE} AND seq = ?",
    "raise_old": f"UPDATE events SET epoch = ? WHERE {_HERE} IF epoch <= ?",
    "newest": f"SELECT {_STANDING}, {_EVENT} FROM events WHERE {_HERE} LIMIT 1",
    "page_down": f"SELECT {_EVENT} FROM events WHERE {_HERE} AND seq >= ? AND seq <= ? LIMIT ?",
    "page_up": f"SELECT {_EVENT} FROM events WHERE {_HERE} AND seq >= ? AND seq <= ?"
    " ORDER BY seq ASC LIMIT ?",
    "kinds": f"SELECT seq, kind FROM events WHERE {_HERE} AND seq >= ? AND seq <= ? LIMIT ?",
    "at": f"SELECT {_EVENT} FROM events WHERE {_HERE} AND seq IN ? ORDER BY seq ASC",
    "put_cid": "INSERT INTO cids (thread, sender, cid, seq) VALUES (?, ?, ?, ?)",
    "cids": "SELECT cid, seq FROM cids WHERE thread = ? AND sender = ? AND cid IN ?",
    "put_target": "INSERT INTO targets (thread, bucket, target, seq) VALUES (?, ?, ?, ?)",
    "targets": f"SELECT seq FROM targets WHERE {_HERE} AND target IN ?",
    "put_recv": "INSERT INTO cursors (thread, uid, recv) VALUES (?, ?, ?) USING TIMESTAMP ?",
    "put_read": "UPDATE cursors USING TIMESTAMP ? SET read = ? WHERE thread = ? AND uid = ?",
    "put_read_n": "UPDATE cursors USING TIMESTAMP ? SET read_n = ? WHERE thread = ? AND uid = ?",
    "cursors": "SELECT uid, recv, read, read_n FROM cursors WHERE thread = ?",
    "cursors_of": "SELECT uid, recv, read, read_n FROM cursors WHERE thread = ? AND uid IN ?",
    "put_bucket": "INSERT INTO buckets (thread, bucket) VALUES (?, ?) USING TIMESTAMP ?",
    "bucket": "SELECT bucket FROM buckets WHERE thread = ?",
}  # fmt: skip
_CONDITIONAL_TEXTS = frozenset({"claim", "open", "move", "insert", "rewrite", "raise_old"})


class Suspects:
    """Hosts that let a request time out, each until a time of trio's clock."""

    def __init__(self) -> None:
        self._until_s: dict[Any, float] = {}

    def add(self, host: Any, now_s: float) -> None:
        self._until_s[host] = now_s + SUSPECTED_S

    def clear_old(self, now_s: float) -> None:
        for host in [host for host, until_s in self._until_s.items() if until_s <= now_s]:
            del self._until_s[host]

    def last(self, hosts: Iterable[Any]) -> list[Any]:
        """`hosts` in their order, the suspected ones behind the others."""
        return sorted(hosts, key=self._until_s.__contains__)


class SuspectingPolicy(TokenAwarePolicy):  # type: ignore[misc]  # the driver has no types
    """The replicas of a statement's partition first, in any order; suspects last."""

    def __init__(self, data_centre: str, suspects: Suspects) -> None:
        super().__init__(DCAwareRoundRobinPolicy(data_centre))
        self._suspects = suspects

    def make_query_plan(self, *arguments: Any, **keywords: Any) -> Iterator[Any]:
        yield from self._suspects.last(super().make_query_plan(*arguments, **keywords))


@dataclass(frozen=True, slots=True)
class CqlStatistics:
    """`requests` since opening and `under_way` now; `wakes` of trio by the driver's thread;
    `shared_reads`, which another one's request answered."""

    requests: int
    under_way: int
    wakes: int
    shared_reads: int


@dataclass(frozen=True, slots=True)
class Connected:
    """What `open_session` makes; outlives runs of trio."""

    session: Session
    statements: Statements
    suspects: Suspects


class CqlSession:
    """Requests of one log. Every method may be cancelled: the request then goes on unheard."""

    def __init__(self, connected: Connected, bridge: Bridge) -> None:
        self.statements = connected.statements
        self.bridge = bridge
        self.sharing = SharedReads()
        self._session = connected.session
        self._suspects = connected.suspects

    async def read(self, statement: PreparedStatement, *values: Any) -> Rows:
        """Rows as a quorum has them; shared with whoever reads the same. Raises
        `StoreUnavailable`."""

        async def fetch() -> Rows:
            return await self._repeated(lambda: self._send(statement.bind(values), _READ))

        return await self.sharing.read((statement.query_id, values), fetch)

    async def read_serial(self, statement: PreparedStatement, *values: Any) -> Rows:
        """As `read`, after conditional writes that have begun are finished or made impossible, and
        for one reader alone."""
        return await self._repeated(lambda: self._send(statement.bind(values), _SERIAL_READ))

    async def write(self, *bound: Bound) -> None:
        """Carry out idempotent writes of one partition. Raises `StoreUnavailable` when it is not
        known whether they were, too: the caller may do them again."""
        statement = bound[0][0].bind(bound[0][1]) if len(bound) == 1 else _batch(bound)
        await self._repeated(lambda: self._send(statement, _WRITE))

    async def conditional(self, *bound: Bound) -> bool:
        """Carry out writes of one partition if the condition of the first holds: whether it did.

        Sent once. Raises `StoreUnavailable` or `OutcomeUnknown`.
        """
        with translating():
            rows = await self._call(lambda: self._send(_batch(bound), _CONDITIONAL))
        return bool(rows[0]["[applied]"])

    def statistics(self) -> CqlStatistics:
        bridge = self.bridge.statistics()
        return CqlStatistics(bridge.requests, bridge.under_way, bridge.wakes, self.sharing.shared)

    async def _repeated(self, send: Callable[[], Any]) -> Rows:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                rows: Rows = await self._call(send)
            except Exception as error:
                if is_mistake(error):
                    raise
                if attempt == ATTEMPTS_MAX:
                    raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
            else:
                return rows
        raise AssertionError("the last attempt returns or raises")

    async def _call(self, send: Callable[[], Any]) -> Any:
        self._suspects.clear_old(trio.current_time())
        try:
            return await self.bridge.call(send)
        except OperationTimedOut as error:
            self._suspects.add(error.last_host, trio.current_time())
            raise

    def _send(self, statement: Any, profile: str) -> Any:
        return self._session.execute_async(statement, execution_profile=profile)


@contextmanager
def translating() -> Iterator[None]:
    """The driver's exceptions as the ports have them. Mistakes pass as they are."""
    try:
        yield
    except Exception as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error


def _batch(bound: Sequence[Bound]) -> BatchStatement:
    """One atomic change of one partition, whose routing key is the first statement's."""
    batch = BatchStatement(BatchType.UNLOGGED)
    for statement, values in bound:
        batch.add(statement, values)
    return batch


# ---------------------------------------------------------------------------- opening, blocking


def connect(settings: CqlSettings, suspects: Suspects, request_s: float = REQUEST_S) -> Cluster:
    """A cluster to connect to; nothing is sent yet. Blocks, and so does all that follows."""
    # It warns with tracebacks, every second while a node is away; outcomes and health tell enough.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    auth = None
    if settings.user is not None:
        auth = PlainTextAuthProvider(settings.user, settings.password)
    return Cluster(
        settings.hosts,
        port=settings.port,
        auth_provider=auth,
        execution_profiles=_profiles(settings, suspects, request_s),
        protocol_version=4,
        compression=False,
        connect_timeout=CONNECT_S,
        control_connection_timeout=CONNECT_S,
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=HEARTBEAT_S,
        reconnection_policy=ConstantReconnectionPolicy(RECONNECT_S, max_attempts=None),
    )


def open_session(cluster: Cluster, settings: CqlSettings, suspects: Suspects) -> Connected:
    """Connect, make the keyspace and bring it up to date, prepare. Raises `StoreUnavailable`,
    `Corrupt`."""
    try:
        session = cluster.connect()
        session.default_fetch_size = None  # every statement has a limit, or few rows
        migrate(session, settings)
        return Connected(session, prepare(session), suspects)
    except (NoHostAvailable, DriverException, ErrorMessage) as error:
        raise StoreUnavailable(f"{settings} cannot be used: {error}") from error


def migrate(session: Session, settings: CqlSettings) -> None:
    """Apply what is missing of the schema. Statements are of the kind that may be repeated, for a
    schema change belongs to no transaction. Two programs must not do this at once."""
    names = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = %s"
    if not session.execute(names, (settings.keyspace,)).all():
        session.execute(keyspace_statement(settings), timeout=SCHEMA_S)
    session.set_keyspace(settings.keyspace)
    applied: list[Applied] = []
    if has_table(session, settings, "migrations"):
        rows = session.execute("SELECT number, name, checksum FROM migrations")
        applied = [Applied(*row) for row in rows]
    else:
        columns = "number int PRIMARY KEY, name text, checksum text"
        session.execute(f"CREATE TABLE IF NOT EXISTS migrations ({columns})", timeout=SCHEMA_S)
    for migration in migrations.pending(migrations.load("cql"), applied):
        for statement in statements_of(migration.script):
            session.execute(statement, timeout=SCHEMA_S)
        session.execute(
            "INSERT INTO migrations (number, name, checksum) VALUES (%s, %s, %s)",
            (migration.number, migration.name, migration.checksum),
        )


def has_table(session: Session, settings: CqlSettings, table: str) -> bool:
    found = (
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s"
    )
    return bool(session.execute(found, (settings.keyspace, table)).all())


def statements_of(script: str) -> list[str]:
    """A script's statements, which end in semicolons; comments have lines of their own."""
    lines = (line for line in script.splitlines() if not line.startswith("--"))
    return [text for part in "\n".join(lines).split(";") if (text := part.strip())]


def prepare(session: Session) -> Statements:
    assert set(TEXTS) == {field.name for field in fields(Statements)}
    prepared = {}
    for name, text in TEXTS.items():
        prepared[name] = session.prepare(text)
        prepared[name].is_idempotent = name not in _CONDITIONAL_TEXTS
    return Statements(**prepared)


def _profiles(
    settings: CqlSettings, suspects: Suspects, request_s: float
) -> dict[Any, ExecutionProfile]:
    def profile(
        consistency: int, rows: Callable[..., Any] = tuple_factory, **more: Any
    ) -> ExecutionProfile:
        return ExecutionProfile(
            load_balancing_policy=SuspectingPolicy(settings.data_centre, suspects),
            retry_policy=FallthroughRetryPolicy(),
            consistency_level=consistency,
            serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
            request_timeout=request_s,
            row_factory=rows,
            **more,
        )

    quorum = ConsistencyLevel.LOCAL_QUORUM
    twice = ConstantSpeculativeExecutionPolicy(SECOND_READ_S, 1)
    return {
        EXEC_PROFILE_DEFAULT: profile(quorum),
        _READ: profile(quorum, speculative_execution_policy=twice),
        _SERIAL_READ: profile(ConsistencyLevel.LOCAL_SERIAL),
        _WRITE: profile(quorum),
        _CONDITIONAL: profile(quorum, dict_factory),
    }
