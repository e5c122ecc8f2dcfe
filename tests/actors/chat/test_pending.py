"""What a session has passed on and not seen answered: order, crashes, and nothing left over."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from actors.chat.commands import Send
from actors.chat.messages import Caller, Mark, Post
from actors.chat.pending import Link, Outstanding, is_awaited
from actors.runtime import Ref
from persistence.records import ClientId, ThreadId, UserId

A = UserId("u1")
THREADS = [ThreadId("g1"), ThreadId("g2")]
CHANNEL = cast("Ref", object())


def post(request: int, device: int = 1) -> Post:
    return Post(Caller(A, device, request), ClientId(f"c-{request}"), Send(str(request)))


def send_all(outstanding: Outstanding, link: Link) -> list[Any]:
    sent = []
    while (entry := outstanding.next_unsent(link)) is not None:
        sent.append(entry.message)
        outstanding.sent(link)
    return sent


def test_a_crash_sends_everything_again_in_order() -> None:
    outstanding = Outstanding()
    posts = [post(1), post(2), post(3)]
    for each in posts:
        link = outstanding.add(THREADS[0], each, 8.0)
    link.ref = CHANNEL
    assert send_all(outstanding, link) == posts
    outstanding.settle(1, 2)
    assert outstanding.crashed(THREADS[0], abnormal=True) == []
    assert send_all(outstanding, link) == [posts[0], posts[2]]


def test_a_link_that_owes_nothing_is_forgotten() -> None:
    outstanding = Outstanding()
    outstanding.add(THREADS[0], post(1), 8.0)
    assert [entry.message for entry in outstanding.expired(8.0)] == [post(1)]
    assert not outstanding.links


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["post", "mark", "send", "settle", "up", "crash", "expire", "forget"]),
        st.sampled_from(THREADS),
        st.integers(1, 4),
    ),
    max_size=80,
)


@given(MOVES)
def test_order_is_kept_and_nothing_is_left_over(moves: list[tuple[str, ThreadId, int]]) -> None:
    """Whatever happens, a thread's channel is sent its messages in the order they came, and at the
    end nothing is remembered."""
    outstanding = Outstanding()
    came: dict[ThreadId, list[int]] = {thread: [] for thread in THREADS}
    to_channel: dict[ThreadId, list[int]] = {thread: [] for thread in THREADS}
    for number, (move, thread, choice) in enumerate(moves, 1):
        link = outstanding.links.get(thread)
        match move:
            case "post":
                outstanding.add(thread, post(number, device=choice % 2 + 1), number + 20.0)
                came[thread].append(number)
            case "mark":
                mark = Mark(Caller(A, 1, 0), None, number, answered=False)
                outstanding.add(thread, mark, number + 20.0)
                came[thread].append(number)
            case "up" if link is not None:
                link.ref = CHANNEL
            case "send" if link is not None and link.ref is not None:
                if (entry := outstanding.next_unsent(link)) is not None:
                    message = entry.message
                    assert isinstance(message, Post | Mark)
                    to_channel[thread].append(
                        message.caller.request if isinstance(message, Post) else message.read or 0
                    )
                    outstanding.sent(link)
                    assert is_awaited(message) or entry not in link.entries.values()
            case "settle" if link is not None and link.entries:
                outstanding.settle(*next(iter(link.entries)))
            case "crash" if link is not None and link.ref is not None:
                outstanding.crashed(thread, abnormal=True)
                to_channel[thread] = []
            case "expire":
                outstanding.expired(float(number))
            case "forget":
                outstanding.forget_device(choice % 2 + 1)
        assert to_channel[thread] == sorted(to_channel[thread])
        assert set(to_channel[thread]) <= set(came[thread])
        assert len(outstanding) == sum(len(each.entries) for each in outstanding.links.values())
    outstanding.expired(1e9)
    for thread in list(outstanding.links):
        outstanding.crashed(thread, abnormal=False)
    assert not outstanding.links
    assert len(outstanding) == 0
