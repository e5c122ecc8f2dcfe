"""The data directory: who may open it, what is noticed, copies of it."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
import trio

from persistence import sqlite
from persistence.errors import Corrupt, DataDirectoryInUse, StoreUnavailable
from persistence.records import ClientId, Committed, Event, Rewrite, Span, ThreadId
from persistence.sqlite import backup_directory, open_sqlite
from persistence.sqlite_files import DATABASE
from tests.contracts.stores import ANN, DM, account, append, event, filled


async def make(directory: Path, *events: Event) -> Path:
    async with open_sqlite(directory) as stores:
        await filled(stores.log, DM, *events)
        await stores.accounts.create(account("ann"))
    return directory / DATABASE


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        assert connection.execute(statement).rowcount
    connection.close()


async def test_second_opening_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path):
        with pytest.raises(DataDirectoryInUse, match=str(tmp_path)):
            async with open_sqlite(tmp_path):
                pass
    async with open_sqlite(tmp_path):
        pass


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "a" / "b") as stores:
        await stores.accounts.create(account("ann"))
        files = list((tmp_path / "a" / "b").iterdir())
        assert {path.name for path in files} == {
            "lock", "coppice.db", "coppice.db-wal", "coppice.db-shm",
        }  # fmt: skip
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700
    assert not (tmp_path / "a" / "b" / "coppice.db-wal").exists(), "folded in on closing"


async def test_exceptions_of_the_user_pass_through_bare_and_close_the_store(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012  (what is raised inside is the point)
        async with open_sqlite(tmp_path) as stores:
            await stores.accounts.create(account("ann"))
            raise ZeroDivisionError
    for call in (stores.accounts.by_name("ann"), stores.log.claim(DM, 0), stores.health()):
        with pytest.raises(StoreUnavailable, match="closed"):
            await call
    async with open_sqlite(tmp_path) as stores:
        assert await stores.accounts.by_name("ann") is not None


async def test_cancelled_user_leaves_a_closed_store(tmp_path: Path) -> None:
    with trio.move_on_after(0.2) as scope:
        async with open_sqlite(tmp_path):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    async with open_sqlite(tmp_path):
        pass


@pytest.mark.parametrize("version", [(3, 36, 0), (3, 8, 11)])
async def test_old_library_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    with pytest.raises(StoreUnavailable, match=r"SQLite 3\.37\.0 with JSON functions is needed"):
        async with open_sqlite(tmp_path):
            pass


async def test_text_and_digests_come_back_byte_for_byte(tmp_path: Path) -> None:
    strange = 'é"\\/\b\f\n\r\t\u0001\u007f\u2028\u2029\ufeff\ufffe\uffff\U0001f600\U0010ffff'
    body = '{"text":"\\ud83d\\ude00 \\u0000 \\" ' + strange + '"}  '
    cid = ClientId(strange)
    original = Event(1, 1, event(1).kind, ANN, 5, body.encode(), cid, bytes(range(256)), None)
    await make(tmp_path, original)
    async with open_sqlite(tmp_path) as stores:
        assert await stores.log.find(DM, ANN, cid) == original
        thread = ThreadId(strange)
        epoch = await filled(stores.log, thread, original)
        await stores.log.append([append(thread, epoch, 1, rewrites=(Rewrite(1, body.encode()),))])
        found = await stores.log.summaries({thread: Span()}, {})
        assert found[thread].last == original


# ---------------------------------------------------------------------------- what is noticed


@pytest.mark.parametrize(
    "damage",
    [
        "body = replace(body, 'hi', 'ho')",
        "sender = 'u2'",
        "ts_ms = ts_ms + 1",
        "n = n + 1",
        "kind = 'edit'",
        "kind = 'nonsense'",
        "cid = 'other'",
        "digest = x'00'",
        "target = 1",
        "body_crc = body_crc + 1",
        "seq = 9",
    ],
)
async def test_changed_event_is_noticed_at_the_start_and_on_reading(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await make(tmp_path, event(1, cid="a"), event(2, cid="b"))
    change(path, f"UPDATE events SET {damage} WHERE seq = 2")
    with pytest.raises(Corrupt):
        await make(tmp_path)
    monkeypatch.setattr(sqlite, "check_newest", lambda _: None)
    async with open_sqlite(tmp_path) as stores:
        with pytest.raises(Corrupt, match=r"event|stored value|gaps"):
            await stores.log.claim(DM, 2)
        with pytest.raises(Corrupt):
            await stores.log.read(DM, Span(), 10)
        assert await stores.accounts.by_name("ann") is not None, "the rest goes on"


async def test_flipped_byte_in_the_file_is_noticed(tmp_path: Path) -> None:
    path = await make(tmp_path, event(1, text="findme"))
    data = path.read_bytes()
    assert data.count(b"findme") == 1
    path.write_bytes(data.replace(b"findme", b"fondme"))
    with pytest.raises(Corrupt, match="event 1 of d:u1:u2 does not match its checksums"):
        await make(tmp_path)


async def test_bytes_that_are_no_text_are_noticed(tmp_path: Path) -> None:
    path = await make(tmp_path, event(1, text="findme"))
    path.write_bytes(path.read_bytes().replace(b"findme", b"f\xffndme"))
    with pytest.raises(Corrupt):
        await make(tmp_path)


@pytest.mark.parametrize(
    "damage",
    ["UPDATE heads SET seq = 3", "UPDATE heads SET seq = 1", "DELETE FROM events WHERE seq=2"],
)
async def test_head_that_is_not_where_its_events_end_is_noticed(
    tmp_path: Path, damage: str
) -> None:
    change(await make(tmp_path, event(1), event(2)), damage)
    with pytest.raises(Corrupt, match=r"the log of d:u1:u2 ends at \d, its head says \d"):
        await make(tmp_path)


async def test_gap_in_a_log_is_noticed_by_a_claim(tmp_path: Path) -> None:
    path = await make(tmp_path, event(1), event(2), event(3))
    change(path, "DELETE FROM events WHERE seq = 2")
    async with open_sqlite(tmp_path) as stores:
        assert (await stores.log.claim(DM, 1)).recent == (event(3),)
        with pytest.raises(Corrupt, match="gaps"):
            await stores.log.claim(DM, 2)


# ---------------------------------------------------------------------------- copies


async def test_backup_taken_while_writing_restores_clean(tmp_path: Path) -> None:
    threads = [ThreadId(f"g{number}") for number in range(8)]
    done = dict.fromkeys(threads, 0)
    before: list[int] = []
    after: list[int] = []

    async with open_sqlite(tmp_path / "data") as stores:

        async def write(started: trio.Event) -> None:
            for thread in threads:
                await stores.log.claim(thread, 0)
            while True:
                batch = [append(t, 1, done[t], event(done[t] + 1, text="x" * 500)) for t in threads]
                assert set(await stores.log.append(batch)) == {Committed()}
                for thread in threads:
                    done[thread] += 1
                if done[threads[0]] == 50:
                    started.set()

        async with trio.open_nursery() as nursery:
            started = trio.Event()
            nursery.start_soon(write, started)
            await started.wait()
            for name in ("one", "two"):
                before.append(done[threads[0]])
                await stores.backup(tmp_path / name)
                after.append(done[threads[0]])
            nursery.cancel_scope.cancel()

    for name, least, most in zip(("one", "two"), before, after, strict=True):
        restored = tmp_path / f"restored {name}"
        restored.mkdir()
        (tmp_path / name).rename(restored / DATABASE)
        async with open_sqlite(restored) as stores:
            lengths = {len(await stores.log.read(thread, Span(), 10_000)) for thread in threads}
            assert len(lengths) == 1, "a batch is in it or not"
            assert least <= lengths.pop() <= most + 1


async def test_backup_is_private_and_complete_in_itself(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path / "data") as stores:
        ann = await stores.accounts.create(account("ann"))
        await stores.backup(tmp_path / "copy")
        await trio.to_thread.run_sync(backup_directory, tmp_path / "data", tmp_path / "other")
    for name in ("copy", "other"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        with sqlite3.connect(tmp_path / name) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            assert connection.execute("SELECT user FROM accounts").fetchall() == [(ann.user,)]
        connection.close()
    assert names_in(tmp_path) == ["copy", "data", "other"]


async def test_backup_refuses_a_file_that_exists(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"precious")
    async with open_sqlite(tmp_path / "data") as stores:
        with pytest.raises(FileExistsError):
            await stores.backup(tmp_path / "copy")
        with pytest.raises(FileExistsError):
            backup_directory(tmp_path / "data", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"precious"


async def test_backup_of_a_closed_directory_changes_nothing_in_it(tmp_path: Path) -> None:
    path = await make(tmp_path / "data", event(1))
    before = path.read_bytes()
    backup_directory(tmp_path / "data", tmp_path / "copy")
    assert path.read_bytes() == before


def test_backup_of_nothing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        backup_directory(tmp_path / "data", tmp_path / "copy")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / DATABASE).write_bytes(b"no database at all, but long enough for one" * 50)
    with pytest.raises(Corrupt):
        backup_directory(tmp_path / "data", tmp_path / "copy")
    assert names_in(tmp_path) == ["data"]


async def test_damaged_database_is_not_backed_up_silently(tmp_path: Path) -> None:
    path = await make(tmp_path / "data", *(event(seq, text="x" * 900) for seq in range(1, 200)))
    data = bytearray(path.read_bytes())
    data[-4096 * 8 : -4096 * 4] = b"\xff" * (4096 * 4)
    path.write_bytes(data)
    with pytest.raises(Corrupt):
        backup_directory(tmp_path / "data", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# ---------------------------------------------------------------------------- the rest


async def test_health_and_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_sqlite(tmp_path) as stores:
        before = stores.statistics()
        await stores.health()
        after = stores.statistics()
        assert after.writer.commits == before.writer.commits + 1
        assert after.reads == before.reads + 1
        assert after.database_bytes > 0
        assert "coppice.db" in repr(stores)
        monkeypatch.setattr(sqlite, "DISK_FREE_BYTES_MIN", 2**62)
        with pytest.raises(StoreUnavailable, match="free space"):
            await stores.health()
