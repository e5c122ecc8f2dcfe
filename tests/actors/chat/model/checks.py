"""What must hold between the reference and what was seen. Each check answers with sentences, one
for each broken promise; none is a good sign. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.actors.chat.model.explain import without
from tests.actors.chat.model.phone import Phone, Seen
from tests.actors.chat.model.reference import Cursor, Event, Reference, Thread

Times = dict[tuple[str, int], int]
"""The `ts` of every event, as first met: it never changes, and everybody is shown the same."""


def check_log(thread: Thread, log: Sequence[Mapping[str, Any]], times: Times) -> Iterator[str]:
    """The store holds what the reference says, and `ts` neither changes nor decreases."""
    forms = [without(dict(form), "ts") for form in log]
    expected = [event.now for event in thread.events]
    if forms != expected:
        yield f"{thread.id}: the log is {forms}, not {expected}"
    before = 0
    for form in log:
        yield from _check_ts(thread.id, form, times)
        if form["ts"] < before:
            yield f"{thread.id}: ts decreases at {form['seq']}"
        before = form["ts"]


def _check_ts(thread: str, form: Mapping[str, Any], times: Times) -> Iterator[str]:
    ts = times.setdefault((thread, form["seq"]), form["ts"])
    if ts != form["ts"]:
        yield f"{thread}: {form['seq']} has ts {form['ts']} and had {ts}"


# ---------------------------------------------------------------------------- phones


def check_phone(
    phone: Phone, reference: Reference, checked: dict[str, int], times: Times
) -> Iterator[str]:
    """Every event that took effect is the one at its seq, once, in order, and was this user's to
    see. `checked` counts the events of each thread that were looked at before."""
    yield from phone.broken
    for thread_id, applied in phone.applied.items():
        thread = reference.threads.get(thread_id)
        if thread is None or phone.uid not in thread.members:
            yield f"{phone}: shows {thread_id}, which it may not see"
            continue
        start = checked.get(thread_id, 0)
        before = applied[start - 1].seq if start else 0
        for seen in applied[start:]:
            yield from _check_step(phone, thread, before, seen)
            if 0 < seen.seq <= thread.head_for(phone.uid):
                yield from _check_seen(phone, thread, seen, times)
            before = seen.seq
        checked[thread_id] = len(applied)
    for head in phone.heads:
        thread = reference.threads.get(head["thread"])
        if thread is None or phone.uid not in thread.members:
            yield f"{phone}: heard {head} of a thread it may not see"
        elif head["seq"] > thread.head_for(phone.uid) or head["n"] != thread.n_at(head["seq"]):
            yield f"{phone}: heard {head}, with {thread.head_for(phone.uid)} to read"
    phone.heads.clear()


def _check_step(phone: Phone, thread: Thread, before: int, seen: Seen) -> Iterator[str]:
    """From one event to the next: dense, but for what lies before a join."""
    member = thread.members[phone.uid]
    if seen.seq <= before:
        yield f"{phone}: {thread.id} {seen.seq} after {before}"
    elif seen.seq != before + 1 and seen.seq not in member.joins:
        yield f"{phone}: {thread.id} lost what lies between {before} and {seen.seq}"
    elif before + 1 == member.join and seen.seq != before + 1:
        yield f"{phone}: {thread.id} lost its join at {before + 1}"
    stays = (*member.earlier, (member.join, thread.head_for(phone.uid)))
    if not any(join <= seen.seq <= left for join, left in stays):
        yield f"{phone}: {thread.id} {seen.seq} is none of its user's stays {stays}"


def _check_seen(phone: Phone, thread: Thread, seen: Seen, times: Times) -> Iterator[str]:
    """The event shown is the one at its seq: pushed as it was when new, or asked for in one of the
    forms it has had since."""
    event = thread.at(seen.seq)
    if seen.form is None:
        if event.author != phone.uid:
            yield f"{phone}: {thread.id} {seen.seq} was acknowledged, but is {event.author}'s"
        return
    yield from _check_ts(thread.id, seen.form, times)
    yield from _check_cid(phone.uid, event, seen.form)
    form = without(seen.form, "ts", "cid")
    forms = event.forms[:1] if seen.is_pushed else event.forms
    hidden = {seen.seq, form.get("target")} & thread.hidden.get(phone.uid, frozenset())
    if form not in forms and not (hidden and not seen.is_pushed and "text" not in form):
        yield f"{phone}: {thread.id} {seen.seq} is {form}, not {forms}"


def _check_cid(uid: str, event: Event, form: Mapping[str, Any]) -> Iterator[str]:
    """A `cid` is shown to its author only, and on messages always."""
    if "cid" in form and (uid != event.author or form["cid"] != event.cid):
        yield f"{uid}: is shown the cid {form['cid']} of {event}"
    if "cid" not in form and uid == event.author and event.is_message:
        yield f"{uid}: is not shown the cid of {event}"


def check_receipts(phone: Phone, reference: Reference) -> Iterator[str]:
    """Nobody is said to have read what they did not."""
    for (thread_id, user), body in phone.receipts.items():
        thread = reference.threads[thread_id]
        reach = thread.reach.get(user, Cursor())
        if phone.uid not in thread.members or not Cursor(body["recv"], body["read"]).within(
            Cursor(), reach
        ):
            yield f"{phone}: heard {body}, but {user} reached {reach}"


def check_caught_up(phone: Phone, reference: Reference) -> Iterator[str]:
    """Nothing is missing: an online phone has every thread up to what its user may read."""
    for thread in reference.of_user(phone.uid):
        if phone.last(thread.id) != thread.head_for(phone.uid):
            yield (
                f"{phone}: has {thread.id} up to {phone.last(thread.id)}, "
                f"not {thread.head_for(phone.uid)}"
            )


# ---------------------------------------------------------------------------- answers


def check_page(
    thread: Thread, user: str, page: Mapping[str, Any], limit: int, bound: tuple[str, int] | None
) -> Iterator[str]:
    """A `history` answer (PROTOCOL.md §2, §3)."""
    readable = thread.readable(user)
    seqs = [event["seq"] for event in page["events"]]
    name, at = bound or ("before", thread.head + 1)
    match name:
        case "after":
            rest = [seq for seq in readable if seq > at]
            expected, more = rest[:limit], len(rest) > limit
        case "before":
            rest = [seq for seq in readable if seq < at]
            expected, more = rest[-limit:], len(rest) > limit
        case _:
            expected, more = seqs, bool(seqs) and seqs[0] > readable.start
            wanted = min(limit, len(readable))
            if len(seqs) != wanted or seqs != list(range(seqs[0], seqs[0] + wanted)):
                yield f"{thread.id}: {seqs} around {at} of {readable}, limit {limit}"
            if at in readable and at not in seqs:
                yield f"{thread.id}: {at} is not in {seqs}"
    if seqs != expected or page["more"] != more or page["head"] != thread.head_for(user):
        yield f"{thread.id}: {name} {at} limit {limit} gave {page}, not {expected}, more {more}"
    yield from _check_events(thread, user, page["events"])


def _check_events(thread: Thread, user: str, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for event in events:
        if event["seq"] not in thread.readable(user):
            yield f"{user}: {thread.id} {event['seq']} is not theirs to read"
            continue
        form = without(dict(event), "ts", "cid")
        expected = thread.shown(user, event["seq"])
        hidden = expected != thread.at(event["seq"]).now
        if without(form, *("deleted",) * hidden) != without(expected, *("deleted",) * hidden):
            yield f"{user}: {thread.id} {event['seq']} is {form}, not {expected}"
        yield from _check_cid(user, thread.at(event["seq"]), event)


def check_sync(
    reference: Reference, user: str, cursors: Mapping[str, int], limit: int, page: Mapping[str, Any]
) -> Iterator[str]:
    """A `sync` answer: every thread ahead of its cursor, each from there on, `more` where a rest
    remains, `limit` events in all."""
    mine = {thread.id: thread for thread in reference.of_user(user)}
    after = {
        id_: max(cursors.get(id_, 0), thread.members[user].join - 1) for id_, thread in mine.items()
    }
    reset = {id_ for id_, thread in mine.items() if cursors.get(id_, 0) > thread.head_for(user)}
    ahead = {id_ for id_, thread in mine.items() if after[id_] < thread.head_for(user)} | reset
    removed = {id_ for id_, t in mine.items() if t.members[user].left is not None or t.deleted}
    if set(page["removed"]) != removed:
        yield f"{user}: sync removed {page['removed']}, not {removed}"
    if (unserved := reset - set(page["reset"])) - set(page["more"]):
        yield f"{user}: sync forgets {unserved}, more {page['more']}"
    if set(page["reset"]) - reset:
        yield f"{user}: sync reset {page['reset']}, not {reset}"
    reset -= unserved
    ahead -= unserved
    if {line["thread"] for line in page["threads"]} != ahead:
        yield f"{user}: sync lists {[line['thread'] for line in page['threads']]}, not {ahead}"
    if sum(len(events) for events in page["events"].values()) > limit:
        yield f"{user}: sync gave more than {limit} events"
    for line in page["threads"]:
        yield from check_line(mine[line["thread"]], user, line)
    for id_ in ahead & page["events"].keys():
        events = page["events"][id_]
        yield from _check_events(mine[id_], user, events)
        seqs = [event["seq"] for event in events]
        if id_ in reset:
            newest = list(mine[id_].readable(user))[-len(seqs) :]
            if not seqs or seqs != newest:
                yield f"{user}: sync of {id_} gave {seqs}, which is not the newest page"
            continue
        if seqs != list(range(after[id_] + 1, after[id_] + 1 + len(seqs))):
            yield f"{user}: sync of {id_} after {after[id_]} gave {seqs}"
        is_rest = after[id_] + len(seqs) < mine[id_].head_for(user)
        if is_rest != (id_ in page["more"]):
            yield f"{user}: sync of {id_} gave {seqs}, more {page['more']}"


def check_line(thread: Thread, user: str, line: Mapping[str, Any]) -> Iterator[str]:
    """A `Thread` object: head and unread count are functions of the log and the cursors."""
    head = thread.head_for(user)
    if (line["head"], line["head_n"]) != (head, thread.n_at(head)):
        yield f"{user}: {line} has not the head {head}"
    low, high = thread.cursor_bounds(user)
    if not Cursor(line["recv"], line["read"]).within(low, high):
        yield f"{user}: {line} has cursors outside of {low} and {high}"
    elif line["read_n"] != thread.n_at(line["read"]):
        yield f"{user}: {line} has not read {thread.n_at(line['read'])} messages"
    if line["unread"] != line["head_n"] - line["read_n"]:
        yield f"{user}: {line} counts its unread wrongly"
    if not thread.is_dm and (line["name"], line["role"]) != (
        thread.name, thread.members[user].role
    ):  # fmt: skip
        yield f"{user}: {line} is not called {thread.name}, or {thread.members[user].role}"
    last = max((event.seq for event in thread.messages() if event.seq in thread.readable(user)),
               default=None)  # fmt: skip
    if line.get("last", {}).get("seq") != last:
        yield f"{user}: {line} has not the last message {last}"


def check_members(
    thread: Thread, members: Mapping[str, tuple[str, int, int | None]]
) -> Iterator[str]:
    """The thread tables hold everybody who is or was a member, with role, join and leave."""
    expected = {user: (m.role, m.join, m.left) for user, m in thread.members.items()}
    if dict(members) != expected:
        yield f"{thread.id}: members are {members}, not {expected}"


def check_info(thread: Thread, info: Mapping[str, Any]) -> Iterator[str]:
    """A `group.info` answer: the members there are now."""
    members = {member["uid"]: (member["role"], member["join_seq"]) for member in info["members"]}
    expected = {user: (member.role, member.join) for user, member in thread.active.items()}
    if members != expected:
        yield f"{thread.id}: group.info says {members}, not {expected}"
