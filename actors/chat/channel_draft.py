"""What posts do to a thread, planned before it is true.

**Problem.** Many posts arrive while one commit is in flight. Each must see the effect of those
before it (who is a member, which text was deleted, which cid was used), yet nothing may become true
before the store has it.

**Rule.** A `ThreadState` holds what is committed. A `Draft` lays tentative changes over it: every
post is planned against the draft, which collects the events, rewrites and cursors of one `Append`.
When the commit succeeds the draft is applied; when it fails the draft is dropped and the posts are
planned anew. Nothing else changes a `ThreadState`'s log.

What a rule cannot decide from memory it asks for: `NeedEvents` (old messages that are not among the
recent ones) and `MaybeRepeat` (a refusal, unless the log already knows this cid: a repeat is
recognised before anything else is checked, PROTOCOL.md §4.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, assert_never

import msgspec

from actors.chat.answers import Code, Done, Refused
from actors.chat.channel_plan import (
    MaybeRepeat,
    NeedEvents,
    Planned,
    Rules,
    Settled,
    Written,
    answer_for,
    digest_of,
    repeat_of,
)
from actors.chat.channel_state import ThreadState, send_refusal, standing, without_text
from actors.chat.commands import (
    AddMembers,
    CreateGroup,
    DeleteForAll,
    DeleteGroup,
    Edit,
    LeaveGroup,
    React,
    RemoveMember,
    Send,
    SetRole,
    UpdateGroup,
)
from actors.chat.messages import (
    Post,
)
from persistence.records import (
    Append,
    ClientId,
    Cursor,
    Event,
    EventKind,
    Head,
    Member,
    Rewrite,
    Role,
    ThreadKind,
    UserId,
)

REACTIONS_DISTINCT_MAX = 20
"""PROTOCOL.md §2, `react`."""

MANAGERS = frozenset({Role.OWNER, Role.ADMIN})

_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Draft:
    """Tentative changes to one thread: what the next `Append` will hold.

    `related` are older events fetched from the log, with everything that refers to them; `known`
    are events the log named as repeats.
    """

    def __init__(
        self,
        state: ThreadState,
        now_ms: int,
        rules: Rules,
        related: Mapping[int, Event] | None = None,
        known: Mapping[tuple[UserId, ClientId], Event] | None = None,
    ) -> None:
        self.state = state
        self.rules = rules
        self.related = related or {}
        self.seq = state.head.seq
        self.n = state.head.n
        self.ts_ms = max(now_ms, state.head.ts_ms)  # never decreases within a thread
        self.meta = state.meta
        self.members = state.members
        self.events: list[Event] = []
        self.audiences: list[tuple[UserId, ...]] = []
        self.rewrites: dict[int, bytes] = {}
        self.cursors: dict[UserId, Cursor] = {}
        self.changed: dict[UserId, Member] = {}
        self.meta_seq: int | None = None
        self._known = dict(known or {})
        self._audience: tuple[UserId, ...] | None = None

    # ------------------------------------------------------------------ planning

    def plan(self, post: Post) -> Planned:
        """Add a post's events to the draft, or say why not. Either whole or not at all."""
        key = (post.caller.uid, post.cid)
        known = self._known.get(key) or self.state.cids.get(key)
        if known is not None:
            return Settled(post, repeat_of(post, self.state.thread, known))
        first = len(self.events)
        verdict = self._carry_out(post)
        if isinstance(verdict, NeedEvents):
            return verdict
        if isinstance(verdict, Refused):
            assert len(self.events) == first, "a refused post left events behind"
            return MaybeRepeat(verdict) if self.state.low > 1 else Settled(post, verdict)
        if len(self.events) == first:
            return Settled(post, Done())
        last = self.events[-1]
        last = replace(last, cid=post.cid, digest=digest_of(post.command))
        self.events[-1] = last
        self._known[key] = last
        answer = answer_for(post.command, self.state.thread, last)
        return Written(post, first, len(self.events) - 1, answer)

    def _carry_out(self, post: Post) -> Refused | NeedEvents | None:
        uid = post.caller.uid
        command = post.command
        if isinstance(command, CreateGroup):
            return self._create_group(uid, command)
        member = self._member(uid)
        if isinstance(member, Refused):
            return member
        match command:
            case Send():
                return self._send(member, command)
            case Edit():
                return self._edit(member, command)
            case DeleteForAll():
                return self._delete(member, command)
            case React():
                return self._react(member, command)
        assert self.meta is not None
        if self.meta.kind is not ThreadKind.GROUP:
            return Refused(Code.BAD_REQUEST, "thread: not a group")
        match command:
            case UpdateGroup():
                return self._update(member, command)
            case AddMembers():
                return self._add(member, command)
            case RemoveMember():
                return self._remove(member, command)
            case SetRole():
                return self._set_role(member, command)
            case LeaveGroup():
                return self._leave(member)
            case DeleteGroup():
                return self._delete_group(member)
            case _:
                assert_never(command)

    def _member(self, uid: UserId) -> Member | Refused:
        return standing(self.meta, self.members.get(uid))

    # ------------------------------------------------------------------ messages

    def _send(self, member: Member, command: Send) -> Refused | None:
        refused = send_refusal(self.state, command, member.join_seq, self.seq)
        if refused is not None:
            return refused
        fields: dict[str, Any] = {"text": command.text}
        if command.reply_to is not None:
            fields["reply_to"] = command.reply_to
        if command.mentions:
            fields["mentions"] = command.mentions
        self._message(member.uid, fields)
        self.cursors[member.uid] = Cursor(self.seq, self.seq, self.n)
        return None

    def _edit(self, member: Member, command: Edit) -> Refused | NeedEvents | None:
        if self.state.blocked:
            return Refused(Code.BLOCKED, "thread: there is a block between you")
        target = self._target(member, command.target)
        if not isinstance(target, Event):
            return target
        if target.sender != member.uid:
            return Refused(Code.FORBIDDEN, "seq: only the author may edit a message")
        if is_deleted(target):
            return Refused(Code.GONE, "seq: the message was deleted")
        self._note(EventKind.EDIT, member.uid, {"target": command.target, "text": command.text},
                   target=command.target)  # fmt: skip
        body = _decode(target.body)
        body.update(text=command.text, edited=self.seq)
        self.rewrites[command.target] = _encode(body)
        return None

    def _delete(self, member: Member, command: DeleteForAll) -> Refused | NeedEvents | None:
        assert self.meta is not None
        manager = self.meta.kind is ThreadKind.GROUP and member.role in MANAGERS
        missing: list[int] = []
        targets: list[Event] = []
        for seq in dict.fromkeys(command.targets):
            target = self._target(member, seq, "seqs")
            if isinstance(target, NeedEvents):
                missing.append(seq)
            elif isinstance(target, Refused):
                return target
            elif target.sender != member.uid and not manager:
                return Refused(Code.FORBIDDEN, "seqs: only the author or an admin may delete")
            elif not is_deleted(target):
                targets.append(target)
        if missing:
            return NeedEvents(tuple(missing))
        for target in targets:
            self._note(EventKind.DEL, member.uid, {"target": target.seq}, target=target.seq)
            self.rewrites[target.seq] = without_text(target.body, deleted=True)
            for event in self._referring(target.seq):
                if event.kind is EventKind.EDIT:
                    self.rewrites[event.seq] = without_text(event.body)
        return None

    def _react(self, member: Member, command: React) -> Refused | NeedEvents | None:
        if self.state.blocked:
            return Refused(Code.BLOCKED, "thread: there is a block between you")
        target = self._target(member, command.target)
        if not isinstance(target, Event):
            return target
        if is_deleted(target):
            return Refused(Code.GONE, "seq: the message was deleted")
        if command.on:
            shown = reactions(self._referring(command.target))
            if command.emoji not in shown and len(shown) >= REACTIONS_DISTINCT_MAX:
                return Refused(
                    Code.LIMIT, f"emoji: at most {REACTIONS_DISTINCT_MAX} distinct per message"
                )
        fields = {"target": command.target, "emoji": command.emoji, "on": command.on}
        self._note(EventKind.REACT, member.uid, fields, target=command.target)
        return None

    def _target(self, member: Member, seq: int, field: str = "seq") -> Event | Refused | NeedEvents:
        """The message meant by `seq`, in its current form. `field` names it in a refusal."""
        if not member.join_seq <= seq <= self.seq:
            return Refused(Code.NOT_FOUND, f"{field}: no such message")
        event = self._event(seq)
        if event is None:
            return NeedEvents((seq,))
        if event.kind is not EventKind.MSG:
            return Refused(Code.BAD_REQUEST, f"{field}: not a message")
        return event

    def _event(self, seq: int) -> Event | None:
        index = seq - self.state.head.seq - 1
        event = self.events[index] if index >= 0 else self.state.at(seq) or self.related.get(seq)
        if event is not None and seq in self.rewrites:
            return replace(event, body=self.rewrites[seq])
        return event

    def _referring(self, target: int) -> list[Event]:
        """Every event about `target`, ascending. All of them are later than it, so they are among
        the recent ones, the drafted ones, or were fetched with it."""
        low = self.state.low
        older = [e for e in self.related.values() if e.target == target and e.seq < low]
        recent = [e for e in self.state.recent if e.target == target]
        drafted = [e for e in self.events if e.target == target]
        return older + recent + drafted

    # ------------------------------------------------------------------ groups

    def _create_group(self, uid: UserId, command: CreateGroup) -> Refused | None:
        if self.seq:
            return Refused(Code.CONFLICT, "cid: the group exists already")
        assert self.meta is not None, "a group is projected before its first event"
        self._describe(uid, {"name": command.name})
        return None

    def _update(self, member: Member, command: UpdateGroup) -> Refused | None:
        if member.role not in MANAGERS:
            return Refused(Code.FORBIDDEN, "thread: only the owner and admins may change the group")
        given = {"name": command.name, "about": command.about, "avatar": command.avatar}
        self._describe(member.uid, {key: text for key, text in given.items() if text is not None})
        return None

    def _add(self, member: Member, command: AddMembers) -> Refused | None:
        if member.role not in MANAGERS:
            return Refused(Code.FORBIDDEN, "thread: only the owner and admins may add members")
        users = tuple(dict.fromkeys(command.users))
        active = self._current()
        if any(uid in active for uid in users):
            return Refused(Code.CONFLICT, "users: already a member")
        if len(active) + len(users) > self.rules.group_members:
            return Refused(
                Code.LIMIT, f"users: a group has at most {self.rules.group_members} members"
            )
        for uid in users:
            seq = self.seq + 1
            self._change(Member(uid, Role.MEMBER, join_seq=seq))
            self._membership(member.uid, uid, "add", Role.MEMBER)
            self.cursors[uid] = Cursor(seq - 1, seq - 1, self.n)
        return None

    def _remove(self, member: Member, command: RemoveMember) -> Refused | None:
        if member.role not in MANAGERS:
            return Refused(Code.FORBIDDEN, "thread: only the owner and admins may remove members")
        target = self.members.get(command.user)
        if target is None or target.left_seq is not None:
            return Refused(Code.NOT_FOUND, "user: not a member")
        if target.role is Role.OWNER:
            code = Code.CONFLICT if target.uid == member.uid else Code.FORBIDDEN
            return Refused(code, "user: the owner cannot be removed")
        self._part(member.uid, target, "leave" if target.uid == member.uid else "remove")
        return None

    def _set_role(self, member: Member, command: SetRole) -> Refused | None:
        if member.role is not Role.OWNER:
            return Refused(Code.FORBIDDEN, "thread: only the owner changes roles")
        target = self.members.get(command.user)
        if target is None or target.left_seq is not None:
            return Refused(Code.NOT_FOUND, "user: not a member")
        if target.uid == member.uid and command.role is not Role.OWNER:
            return Refused(Code.CONFLICT, "user: name a new owner first")
        self._change(replace(target, role=command.role))
        if command.role is Role.OWNER and target.uid != member.uid:
            self._change(replace(member, role=Role.ADMIN))
        self._membership(member.uid, target.uid, "role", command.role)
        return None

    def _leave(self, member: Member) -> Refused | None:
        if member.role is Role.OWNER:
            return Refused(Code.CONFLICT, "thread: the owner transfers or deletes the group first")
        self._part(member.uid, member, "leave")
        return None

    def _delete_group(self, member: Member) -> Refused | None:
        if member.role is not Role.OWNER:
            return Refused(Code.FORBIDDEN, "thread: only the owner deletes the group")
        self._describe(member.uid, {"deleted": True})
        return None

    # ------------------------------------------------------------------ writing into the draft

    def _message(self, uid: UserId, fields: dict[str, Any]) -> None:
        self.seq += 1
        self.n += 1
        body = {"e": "msg", "thread": self.state.thread, "seq": self.seq, "n": self.n, "from": uid,
                "ts": self.ts_ms, **fields}  # fmt: skip
        self._write(EventKind.MSG, uid, body, None)

    def _note(
        self, kind: EventKind, uid: UserId, fields: dict[str, Any], target: int | None = None
    ) -> None:
        self.seq += 1
        body = {"e": kind.value, "thread": self.state.thread, "seq": self.seq, "ts": self.ts_ms}
        if kind in (EventKind.MEMBER, EventKind.THREAD):
            body |= fields | {"by": uid}
        else:
            body |= {"from": uid} | fields
        self._write(kind, uid, body, target)

    def _write(
        self, kind: EventKind, uid: UserId, body: dict[str, Any], target: int | None
    ) -> None:
        self.events.append(
            Event(self.seq, self.n, kind, uid, self.ts_ms, _encode(body), target=target)
        )
        if self._audience is None:
            self._audience = tuple(self._current())
        self.audiences.append(self._audience)

    def _describe(self, uid: UserId, fields: dict[str, Any]) -> None:
        assert self.meta is not None
        self._note(EventKind.THREAD, uid, fields)
        self.meta = replace(self.meta, **fields, applied_seq=self.seq)
        self.meta_seq = self.seq

    def _membership(self, by: UserId, user: UserId, act: str, role: Role | None) -> None:
        assert self.meta is not None
        fields: dict[str, Any] = {"user": user, "act": act}
        if role is not None:
            fields["role"] = role.value
        self._note(EventKind.MEMBER, by, fields)
        self.meta = replace(self.meta, applied_seq=self.seq)
        self.meta_seq = self.seq

    def _part(self, by: UserId, target: Member, act: str) -> None:
        """End a membership; the event is the last that the one who goes will see."""
        self._membership(by, target.uid, act, None)
        self._change(replace(target, left_seq=self.seq))

    def _change(self, member: Member) -> None:
        if self.members is self.state.members:
            self.members = dict(self.members)
        self.members[member.uid] = member
        self.changed[member.uid] = member
        self._audience = None

    def _current(self) -> dict[UserId, Member]:
        return {uid: member for uid, member in self.members.items() if member.left_seq is None}

    # ------------------------------------------------------------------ committing

    def to_append(self) -> Append:
        """The atomic step that makes this draft true."""
        return Append(
            thread=self.state.thread,
            epoch=self.state.head.epoch,
            expected_seq=self.state.head.seq,
            events=tuple(self.events),
            rewrites=tuple(Rewrite(seq, body) for seq, body in self.rewrites.items()),
            cursors=self.cursors,
            meta_seq=self.meta_seq,
        )

    def apply(self) -> None:
        """The append is committed: make the state what the draft says."""
        state = self.state
        head = state.head
        meta_seq = head.meta_seq if self.meta_seq is None else self.meta_seq
        state.head = Head(head.epoch, self.seq, self.n, meta_seq, self.ts_ms)
        state.meta = self.meta
        state.members = self.members
        state.remember(self.events)
        for seq, body in self.rewrites.items():
            event = state.at(seq)
            if event is not None:
                rewritten = replace(event, body=body)
                state.recent[seq - state.low] = rewritten
                if event.cid is not None:
                    state.cids[event.sender, event.cid] = rewritten
        for uid, cursor in self.cursors.items():
            state.move_cursor(uid, cursor)


def is_deleted(event: Event) -> bool:
    return b'"deleted":true' in event.body and _decode(event.body).get("deleted") is True


def reactions(events: Iterable[Event]) -> set[str]:
    """The distinct emoji now shown on a message, from the events about it in order."""
    shown: set[tuple[str, str]] = set()
    for event in events:
        if event.kind is EventKind.REACT:
            fields = _decode(event.body)
            entry = (event.sender, fields["emoji"])
            if fields["on"]:
                shown.add(entry)
            else:
                shown.discard(entry)
    return {emoji for _, emoji in shown}
