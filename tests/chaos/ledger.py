"""What was sent, what was acknowledged, and what must therefore be true. Pure.

Every message of a run carries a `cid` and a text that says who wrote it and as their how manieth:
a lost, doubled, moved or altered one can be told from the log alone. The rules are those of
PROTOCOL.md §4; a broken one is a sentence, and a run is good when there is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]


@dataclass(slots=True)
class Sent:
    """One request of one user: a `send`, or an `edit` of `target`. `seq` and `ts` as answered, None
    until then; `connection` and `order` say where in which connection's stream it was first sent;
    `tries` how often it was."""

    uid: str
    thread: str
    cid: str
    text: str
    target: int | None = None
    connection: int = 0
    order: int = 0
    tries: int = 1
    seq: int | None = None
    ts: int | None = None


@dataclass(slots=True)
class Ledger:
    """Every request of a run by (uid, cid), and the broken promises found on the way."""

    sent: dict[tuple[str, str], Sent] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def submit(self, sent: Sent) -> None:
        self.sent[sent.uid, sent.cid] = sent

    def acknowledge(self, sent: Sent, seq: int, ts: int) -> None:
        """An `ok` came. A repeat must be answered like the first time."""
        if sent.seq is not None and (sent.seq, sent.ts) != (seq, ts):
            self.broken.append(f"{sent.uid} {sent.cid}: acknowledged at {sent.seq} and at {seq}")
        sent.seq, sent.ts = seq, ts

    @property
    def acknowledged(self) -> int:
        return sum(sent.seq is not None for sent in self.sent.values())

    def texts(self, thread: str) -> dict[str, set[str]]:
        """Everything anybody's messages in this thread may ever have said, by author."""
        texts: dict[str, set[str]] = {}
        for sent in self.sent.values():
            if sent.thread == thread:
                texts.setdefault(sent.uid, set()).add(sent.text)
        return texts


def check_log(ledger: Ledger, thread: str, log: Sequence[Event]) -> list[str]:
    """What is wrong with a thread's whole log, read by a member after the run."""
    wrong = [f"{thread}: {fault}" for fault in _dense(log)]
    ours = [sent for sent in ledger.sent.values() if sent.thread == thread]
    by_text = Counter(_words(event) for event in log if event["e"] in ("msg", "edit"))
    by_seq = {event["seq"]: event for event in log}
    edited = {sent.target for sent in ours if sent.target is not None and sent.seq is not None}
    for sent in ours:
        name = f"{thread}: {sent.uid} {sent.cid}"
        if sent.seq is None:
            if by_text[_key(sent)] > 1:
                wrong.append(f"{name}: there {by_text[_key(sent)]} times, never acknowledged")
            continue
        event = by_seq.get(sent.seq)
        if event is None:
            wrong.append(f"{name}: acknowledged at {sent.seq}, which is not there")
            continue
        kind = "msg" if sent.target is None else "edit"
        is_it = (event["e"], event["from"], event["ts"]) == (kind, sent.uid, sent.ts)
        if not is_it or (sent.seq not in edited and event["text"] != sent.text):
            wrong.append(f"{name}: acknowledged at {sent.seq}, where {dict(event)} stands")
        if sent.seq not in edited and by_text[_key(sent)] != 1:
            wrong.append(f"{name}: there {by_text[_key(sent)]} times")
    submitted = {sent.text for sent in ours}
    wrong += [f"{thread}: nobody wrote {key}" for key in by_text if key[2] not in submitted]
    return wrong + [f"{thread}: {fault}" for fault in _in_order(ours)]


def check_device(
    name: str, ledger: Ledger, thread: str, seen: Sequence[Event], log: Sequence[Event]
) -> list[str]:
    """What is wrong with the events one device applied, against the log of the thread.

    The device has seen each event of the log once, in order. A message it saw before an edit says
    something else than the log now does; everything else is equal."""
    seqs = [event["seq"] for event in seen]
    expected = [event["seq"] for event in log]
    if seqs != expected:
        return [
            (
                f"{name} in {thread}: lost {sorted(set(expected) - set(seqs))[:5]}, "
                f"extra {sorted(set(seqs) - set(expected))[:5]}, "
                f"twice {[seq for seq, times in Counter(seqs).items() if times > 1][:5]}, "
                f"of {len(expected)}"
            )
        ]
    wrong: list[str] = []
    texts = ledger.texts(thread)
    for event, real in zip(seen, log, strict=True):
        fields = ("e", "seq", "ts", "n", "from", "target", "user", "by")
        same = all(event.get(key) == real.get(key) for key in fields if key in event)
        if not same:
            wrong.append(f"{name} in {thread} at {event['seq']}: {dict(event)}, not {dict(real)}")
        elif "text" in event and event["text"] not in texts[real["from"]]:
            wrong.append(f"{name} in {thread} at {event['seq']}: {event['text']!r}")
    return wrong


def _dense(log: Sequence[Event]) -> Iterable[str]:
    seqs = [event["seq"] for event in log]
    if seqs != list(range(1, len(log) + 1)):
        yield f"seqs are not dense: {seqs[:3]} … {seqs[-3:]}, {len(seqs)} of them"
    numbers = [event["n"] for event in log if event["e"] == "msg"]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"n is not dense: {numbers[:3]} … {numbers[-3:]}"
    times = [event["ts"] for event in log]
    if times != sorted(times):
        yield "ts decreases"


def _in_order(ours: Sequence[Sent]) -> Iterable[str]:
    """Sends of one connection to a thread are applied in the order sent, those sent again apart."""
    last: dict[int, Sent] = {}
    for sent in sorted(ours, key=lambda sent: (sent.connection, sent.order)):
        if sent.tries > 1 or sent.seq is None:
            continue
        before = last.get(sent.connection)
        if before is not None and before.seq is not None and before.seq >= sent.seq:
            yield f"{sent.uid}: {before.cid} at {before.seq}, then {sent.cid} at {sent.seq}"
        last[sent.connection] = sent


def _key(sent: Sent) -> tuple[str, str, str]:
    return ("msg" if sent.target is None else "edit", sent.uid, sent.text)


def _words(event: Event) -> tuple[str, str, str]:
    return (event["e"], event["from"], event["text"])
