"""What a failed request did to the data. Pure; the table is the adapter's only source of "unknown".

A request that never left, or that a coordinator refused for want of replicas, was surely not
carried out. Everything that failed later may have been, now or in a while: a coordinator that was
frozen carries out what lies in its queue when it thaws. Such a write is settled by the next epoch,
never by reading alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from cassandra import (
    AuthenticationFailed,
    InvalidRequest,
    RateLimitReached,
    RequestValidationException,
    Unavailable,
)
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage
from cassandra.protocol import RequestValidationException as ValidationMessage

from persistence.errors import OutcomeUnknown, StoreError, StoreUnavailable

REFUSED = (
    Unavailable,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ConnectionBusy,
    NoConnectionsAvailable,
)
"""Before anything was carried out, or sent."""


_GONE = ("does not exist", "unconfigured table", "Undefined column name")
"""How a table, keyspace or column is said to be missing: a restore is under way, or the schema is
of another program."""


def is_refusal(error: Exception) -> bool:
    """Whether the request was surely not carried out."""
    if isinstance(error, NoHostAvailable):
        tried = error.errors
        if not isinstance(tried, Mapping):
            return False
        return all(
            isinstance(each, Exception) and (is_refusal(each) or is_unreached(each))
            for each in tried.values()
        )
    if isinstance(error, RateLimitReached):
        return bool(error.rejected_by_coordinator)  # else some replicas may have written
    return isinstance(error, REFUSED) or is_schema_gone(error)


def is_unreached(error: Exception) -> bool:
    """A host that the driver had no connection to, as it says in the map of `NoHostAvailable`."""
    return str(error) in ("Host has been marked down or removed", "Pool is shutdown")


def is_schema_gone(error: Exception) -> bool:
    return isinstance(error, InvalidRequest) and any(words in str(error) for words in _GONE)


def is_mistake(error: Exception) -> bool:
    """Whether the request can never succeed: a setting that is wrong, or a bug of ours."""
    if is_schema_gone(error):
        return False
    if isinstance(error, RequestValidationException | ValidationMessage | AuthenticationFailed):
        return not isinstance(error, RateLimitReached)
    return not isinstance(error, OSError) and not type(error).__module__.startswith("cassandra")


def translated(error: Exception) -> StoreError | None:
    """What to raise for a failed write; None for a mistake, which is to crash as it is."""
    if is_mistake(error):
        return None
    words = f"{type(error).__name__}: {error}"
    return StoreUnavailable(words) if is_refusal(error) else OutcomeUnknown(words)
