"""`ThreadStore`."""

from __future__ import annotations

from dataclasses import replace

from persistence.records import (
    ClientId,
    Member,
    Membership,
    Projection,
    Reservation,
    Role,
    ThreadId,
    ThreadKind,
    ThreadMeta,
    ThreadView,
)
from tests.contracts.stores import ANN, BOB, CID, GROUP, OTHER, Stores

META = ThreadMeta(GROUP, ThreadKind.GROUP, "Wood", "about", "f1", 1_000, applied_seq=1)
OWNER = Member(ANN, Role.OWNER, 1)
MEMBER = Member(BOB, Role.MEMBER, 1)


async def test_reservation_belongs_to_creator_and_cid(stores: Stores) -> None:
    cid = ClientId("c")
    assert await stores.threads.reserve(ANN, cid, b"\0x", 1) == Reservation(GROUP, b"\0x", True)
    assert await stores.threads.reserve(ANN, cid, b"y", 2) == Reservation(GROUP, b"\0x", False)
    assert await stores.threads.reserve(BOB, cid, b"z", 3) == Reservation(OTHER, b"z", True)
    third = ThreadId("g3")
    assert await stores.threads.reserve(ANN, ClientId("d"), b"x", 4) == Reservation(
        third, b"x", True
    )


async def test_without_cid_a_reservation_is_always_fresh(stores: Stores) -> None:
    first = await stores.threads.reserve(ANN, None, b"x", 1)
    second = await stores.threads.reserve(ANN, None, b"x", 1)
    assert (first.fresh, second.fresh) == (True, True)
    assert first.thread != second.thread


async def test_thread_never_projected_is_none(stores: Stores) -> None:
    assert await stores.threads.load(GROUP) is None
    assert await stores.threads.memberships(ANN) == []


async def test_projection_is_loaded_in_order_of_joining(stores: Stores) -> None:
    late = Member(CID, Role.ADMIN, 7, left_seq=9)
    await stores.threads.project(Projection(META, (late, MEMBER, OWNER)))
    assert await stores.threads.load(GROUP) == (META, [OWNER, MEMBER, late])
    assert await stores.threads.load(OTHER) is None


async def test_projection_before_any_event_counts_once(stores: Stores) -> None:
    draft = replace(META, applied_seq=0)
    await stores.threads.project(Projection(draft, (OWNER,)))
    await stores.threads.project(Projection(replace(draft, name="late"), (MEMBER,)))
    assert await stores.threads.load(GROUP) == (draft, [OWNER])


async def test_projection_not_above_the_stored_one_changes_nothing(stores: Stores) -> None:
    newer = replace(META, name="newer", applied_seq=5)
    await stores.threads.project(Projection(newer, (OWNER, MEMBER)))
    for seq in (5, 4):
        stale = Projection(replace(META, applied_seq=seq), (replace(MEMBER, left_seq=4),))
        await stores.threads.project(stale)
    assert await stores.threads.load(GROUP) == (newer, [OWNER, MEMBER])


async def test_projection_replaces_its_members_and_keeps_the_others(stores: Stores) -> None:
    await stores.threads.project(Projection(META, (OWNER, MEMBER)))
    changed = ThreadMeta(GROUP, ThreadKind.GROUP, "n", "a", "v", 1_000, deleted=True, applied_seq=2)
    gone = replace(MEMBER, role=Role.ADMIN, left_seq=2)
    await stores.threads.project(Projection(changed, (gone,)))
    assert await stores.threads.load(GROUP) == (changed, [OWNER, gone])
    back = Member(BOB, Role.MEMBER, 8)
    await stores.threads.project(Projection(replace(changed, applied_seq=8), (back,)))
    assert (await stores.threads.load(GROUP) or (None, []))[1] == [OWNER, back]


async def test_a_promise_adds_rows_and_changes_none(stores: Stores) -> None:
    """Whatever the thread has applied; and what comes of it replaces it."""
    left = Member(BOB, Role.ADMIN, 1, left_seq=4)
    meta = replace(META, applied_seq=4)
    await stores.threads.project(Projection(meta, (OWNER, left)))
    promised = [Member(uid, Role.MEMBER, 1, left_seq=0) for uid in (ANN, BOB, CID)]
    for name in ("Wood", "another"):
        await stores.threads.project(Projection(replace(meta, name=name), tuple(promised)))
    assert await stores.threads.load(GROUP) == (meta, [OWNER, left, promised[2]])
    (row,) = await stores.threads.memberships(CID)
    assert row == Membership(meta, promised[2], ThreadView())
    assert (row.member.is_promised, left.is_promised, OWNER.is_promised) == (True, False, False)
    joined = Member(CID, Role.MEMBER, 7)
    await stores.threads.project(Projection(replace(meta, applied_seq=7), (joined,)))
    assert [row.member for row in await stores.threads.memberships(CID)] == [joined]


async def test_a_promise_for_a_thread_that_is_not_there_is_none(stores: Stores) -> None:
    promised = Member(BOB, Role.MEMBER, 1, left_seq=0)
    await stores.threads.project(Projection(META, (promised,)))
    assert await stores.threads.memberships(BOB) == []
    assert await stores.threads.load(GROUP) is None
    await stores.threads.project(Projection(META, (OWNER,)))
    assert await stores.threads.load(GROUP) == (META, [OWNER])


async def test_memberships_include_left_and_deleted_threads(stores: Stores) -> None:
    deleted = replace(META, thread=OTHER, deleted=True)
    left = replace(OWNER, left_seq=3)
    await stores.threads.project(Projection(deleted, (OWNER,)))
    await stores.threads.project(Projection(META, (left, MEMBER)))
    here = Membership(META, left, ThreadView())
    there = Membership(deleted, OWNER, ThreadView())
    assert await stores.threads.memberships(ANN) == [here, there]
    assert await stores.threads.memberships(ANN, [OTHER, ThreadId("g9"), OTHER]) == [there]
    assert await stores.threads.memberships(ANN, []) == []
    assert await stores.threads.memberships(BOB, [OTHER]) == []
    assert await stores.threads.memberships(CID) == []


async def test_view_belongs_to_one_user_and_is_replaced_whole(stores: Stores) -> None:
    await stores.threads.project(Projection(META, (OWNER, MEMBER)))
    await stores.threads.set_view(ANN, GROUP, ThreadView(5, pinned=True, archived=True))
    await stores.threads.set_view(ANN, GROUP, ThreadView(6, archived=True))
    assert (await stores.threads.memberships(ANN))[0].view == ThreadView(6, archived=True)
    assert (await stores.threads.memberships(BOB))[0].view == ThreadView()
    await stores.threads.set_view(ANN, GROUP, ThreadView())
    assert (await stores.threads.memberships(ANN))[0].view == ThreadView()


async def test_hidden_seqs_add_up_for_one_user(stores: Stores) -> None:
    await stores.threads.project(Projection(META, (OWNER, MEMBER)))
    await stores.threads.hide(ANN, GROUP, [3, 1])
    await stores.threads.hide(ANN, GROUP, [3, 7])
    await stores.threads.hide(ANN, GROUP, [])
    assert (await stores.threads.memberships(ANN))[0].hidden == {1, 3, 7}
    assert (await stores.threads.memberships(BOB))[0].hidden == frozenset()


async def test_settings_outlive_leaving_and_returning(stores: Stores) -> None:
    await stores.threads.project(Projection(META, (OWNER, MEMBER)))
    view = ThreadView(pinned=True)
    left = replace(MEMBER, left_seq=2)
    await stores.threads.project(Projection(replace(META, applied_seq=2), (left,)))
    await stores.threads.set_view(BOB, GROUP, view)
    await stores.threads.hide(BOB, GROUP, [1])
    back = replace(MEMBER, join_seq=3)
    meta = replace(META, applied_seq=3)
    await stores.threads.project(Projection(meta, (back,)))
    assert await stores.threads.memberships(BOB) == [Membership(meta, back, view, frozenset({1}))]


async def test_settings_of_a_stranger_have_no_effect(stores: Stores) -> None:
    await stores.threads.project(Projection(META, (OWNER,)))
    await stores.threads.set_view(BOB, GROUP, ThreadView(pinned=True))
    await stores.threads.set_view(ANN, OTHER, ThreadView(pinned=True))
    await stores.threads.hide(BOB, GROUP, [1])
    await stores.threads.hide(ANN, OTHER, [1])
    await stores.threads.project(Projection(replace(META, applied_seq=2), (MEMBER,)))
    (membership,) = await stores.threads.memberships(BOB)
    assert (membership.view, membership.hidden) == (ThreadView(), frozenset())
