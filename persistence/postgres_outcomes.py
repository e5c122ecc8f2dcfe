"""What an error of PostgreSQL means: nothing was done, nobody knows, or the data is damaged.

The five-character codes are those of the manual, appendix A. The question behind each is whether a
statement whose error this is can have taken effect. An error that the server reports has undone the
statement; one that ends the connection while a commit is under way leaves it open.
"""

from __future__ import annotations

from typing import Final

from persistence.errors import Corrupt, OutcomeUnknown, StoreError, StoreUnavailable

_DAMAGED: Final = ("XX001", "XX002")
_GOING_AWAY: Final = ("57P", "08")
"""The server shuts down, was told to end the connection, or crashed: the commit may be done."""

_PASSES: Final = (
    "08",  # connection
    "25006",  # read-only transaction: a standby, or a full disk's emergency measure
    "25P03",  # idle in transaction for too long
    "28",  # authentication: the operator is about to mend it
    "3D000",  # the database is not there
    "40",  # serialization, deadlock
    "42501",  # a privilege was taken away
    "42703",  # a column …
    "42P01",  # … or a table is gone: a newer schema, or a restore that is under way
    "53",  # disk full, out of memory, too many connections
    "54",  # a limit of the server
    "55",  # a lock was not to be had
    "57",  # cancelled, shutting down
    "58",  # operating system
    "XX",
)


def meaning(sqlstate: str | None, *, is_committing: bool) -> type[StoreError] | None:
    """Which of our errors this is; None if it is a mistake of the program.

    `sqlstate` is None when the server said nothing: the connection broke, or time ran out.
    `is_committing`: the statement was one that takes effect by itself, or the commit.
    """
    if sqlstate is None or sqlstate.startswith(_GOING_AWAY):
        return OutcomeUnknown if is_committing else StoreUnavailable
    if sqlstate in _DAMAGED:
        return Corrupt
    return StoreUnavailable if sqlstate.startswith(_PASSES) else None
