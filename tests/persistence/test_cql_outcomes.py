"""What a failed request did to the data, case by case."""

from __future__ import annotations

import pytest
from cassandra import (
    AuthenticationFailed,
    InvalidRequest,
    OperationTimedOut,
    OperationType,
    RateLimitReached,
    Unauthorized,
    Unavailable,
    WriteFailure,
    WriteTimeout,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException, ConnectionShutdown
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import OverloadedErrorMessage, ServerError, SyntaxException

from persistence.cql_outcomes import translated
from persistence.errors import OutcomeUnknown, StoreUnavailable

DOWN = ConnectionException("Host has been marked down or removed")
SHUT = ConnectionException("Pool is shutdown")


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("3 needed, 1 alive"),
        OverloadedErrorMessage(0x1001, "overloaded", None),
        RateLimitReached(OperationType.Write, rejected_by_coordinator=True),
        ConnectionBusy(),
        NoConnectionsAvailable(),
        InvalidRequest('code=2200 [Invalid query] message="table events does not exist"'),
        InvalidRequest('code=2200 [Invalid query] message="unconfigured table events"'),
        NoHostAvailable("", {}),
        NoHostAvailable("", {"a": DOWN, "b": SHUT, "c": NoConnectionsAvailable()}),
    ],
    ids=repr,
)
def test_surely_not_carried_out(error: Exception) -> None:
    assert isinstance(translated(error), StoreUnavailable)


@pytest.mark.parametrize(
    "error",
    [
        WriteTimeout("CAS", write_type=5),
        WriteFailure("some replica refused"),
        OperationTimedOut(),
        ConnectionShutdown("closed while waiting"),
        ConnectionException("reset"),
        ServerError(0, "internal", None),
        NoHostAvailable("", {"a": DOWN, "b": ConnectionShutdown("closed while waiting")}),
        NoHostAvailable("", {"a": OperationTimedOut()}),
        RateLimitReached(OperationType.Write, rejected_by_coordinator=False),
        OSError("broken pipe"),
    ],
    ids=repr,
)
def test_nobody_knows(error: Exception) -> None:
    assert isinstance(translated(error), OutcomeUnknown)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("no such column"),
        Unauthorized("no"),
        SyntaxException(0x2000, "line 1", None),
        AuthenticationFailed("bad credentials"),
        TypeError("a bug"),
    ],
    ids=repr,
)
def test_mistakes_are_not_outages(error: Exception) -> None:
    assert translated(error) is None
