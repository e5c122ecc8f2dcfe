"""Builders for thread tests: states, posts, and a log that applies drafts as a store would."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec

from actors.chat.answers import Done, Refused
from actors.chat.channel_draft import Draft
from actors.chat.channel_plan import (
    Planned,
    Rules,
    Written,
)
from actors.chat.channel_state import ThreadState
from actors.chat.commands import (
    Command,
    CreateGroup,
)
from actors.chat.messages import (
    Caller,
    Post,
)
from persistence.records import (
    ClientId,
    Event,
    Head,
    Member,
    Role,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    UserId,
)

A, B, C, D = (UserId(name) for name in ("u1", "u2", "u3", "u4"))
GROUP = ThreadId("g1")
DM = ThreadId("d:u1:u2")
_cids = count(1)


def post(uid: UserId, command: Command, cid: str | None = None) -> Post:
    return Post(Caller(uid, 1, 1), ClientId(cid or f"cid-{next(_cids)}"), command)


def dm_state() -> ThreadState:
    meta = ThreadMeta(DM, ThreadKind.DM)
    members = {uid: Member(uid, Role.MEMBER, join_seq=1) for uid in (A, B)}
    return ThreadState(DM, Head(epoch=1), meta, members)


def group_state(*founders: UserId) -> ThreadState:
    """A group just created by the first of `founders`: its log holds the `thread` event."""
    founders = founders or (A, B, C)
    meta = ThreadMeta(GROUP, ThreadKind.GROUP, "Wood")
    members = {
        uid: Member(uid, Role.MEMBER if index else Role.OWNER, join_seq=1)
        for index, uid in enumerate(founders)
    }
    state = ThreadState(GROUP, Head(epoch=1), meta, members)
    commit(state, post(founders[0], CreateGroup("Wood", founders)))
    return state


def plan(state: ThreadState, *posts: Post, **options: Any) -> tuple[Draft, list[Planned]]:
    draft = Draft(state, options.pop("now_ms", 1000), options.pop("rules", Rules()), **options)
    return draft, [draft.plan(each) for each in posts]


def commit(state: ThreadState, *posts: Post, **options: Any) -> list[Planned]:
    """Plan posts and apply the draft, as after a successful commit."""
    draft, planned = plan(state, *posts, **options)
    draft.apply()
    return planned


def answer(planned: Planned) -> dict[str, Any]:
    """The fields of the `ok` of a written or repeated post."""
    result = planned.answer if isinstance(planned, Written) else planned.result  # type: ignore[union-attr]
    assert isinstance(result, Done), result
    return dict(result.fields)


def refusal(planned: Planned) -> str:
    """The code of a refused post, whether the log is still to be asked or not."""
    refused = getattr(planned, "refused", None) or planned.result  # type: ignore[union-attr]
    assert isinstance(refused, Refused), refused
    return str(refused.code.value)


def body(event: Event) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(event.body)
    return fields
