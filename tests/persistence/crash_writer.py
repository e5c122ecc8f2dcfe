"""Writes into a data directory until killed, and says on stdout what was acknowledged.

Run as `python crash_writer.py DIRECTORY ROUND`. A line is `thread seq` or `user NAME`; it is
written after the store's answer, in one `write`, so that a reader of the pipe sees whole lines.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import trio

from persistence.records import (
    Account,
    Append,
    ClientId,
    Committed,
    Cursor,
    Event,
    EventKind,
    Rewrite,
    ThreadId,
    UserId,
)
from persistence.sqlite import SqliteStores, open_sqlite

THREADS = 20


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def post(stores: SqliteStores, name: str) -> None:
    """Appends batches to half of the threads; each event also moves a cursor and edits the last."""
    threads = [ThreadId(f"{name}{number}") for number in range(THREADS // 2)]
    heads = {thread: (await stores.log.claim(thread, 0)).head for thread in threads}
    epochs = {thread: head.epoch for thread, head in heads.items()}
    seqs = {thread: head.seq for thread, head in heads.items()}
    while True:
        outcomes = await stores.log.append([one(t, epochs[t], seqs[t]) for t in threads])
        assert all(isinstance(outcome, Committed) for outcome in outcomes)
        for thread in threads:
            seqs[thread] += 1
            say(f"{thread} {seqs[thread]}")


def one(thread: ThreadId, epoch: int, head: int) -> Append:
    seq = head + 1
    ann = UserId("u1")
    body = f'{{"seq":{seq}}}'.encode()
    event = Event(seq, seq, EventKind.MSG, ann, seq, body, ClientId(f"c{seq}"), b"d", None)
    rewrites = (Rewrite(head, b'{"edited":true}'),) if head else ()
    return Append(thread, epoch, head, (event,), rewrites, {ann: Cursor(seq, seq, seq)})


async def register(stores: SqliteStores, round_: str) -> None:
    number = 0
    while True:
        number += 1
        user = f"user.{round_}.{number}"
        await stores.accounts.create(Account(UserId(""), user, user, "hash", 1))
        say(f"user {user}")


async def main(directory: Path, round_: str) -> None:
    async with open_sqlite(directory) as stores, trio.open_nursery() as nursery:
        nursery.start_soon(post, stores, "a")
        nursery.start_soon(post, stores, "b")
        nursery.start_soon(register, stores, round_)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
