"""The transport: RFC 6455 from the server's side, over memory streams and sockets."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from gateway.framing import FrameReader, close_frame, encode_text, unmask
from gateway.sockets import SocketStream
from gateway.transport import Closed, Traffic, WebSocketTransport
from tests.gateway.websocket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Peer,
    close,
    frame,
)

LIMIT = 65_536
Pair = tuple[WebSocketTransport, Peer]


def memory_pair(frame_bytes_max: int = LIMIT) -> Pair:
    ours, theirs = memory_stream_pair()
    return WebSocketTransport(ours, frame_bytes_max=frame_bytes_max), Peer(theirs)


def socket_pair(frame_bytes_max: int = LIMIT) -> Pair:
    ours, theirs = socket.socketpair()
    transport = WebSocketTransport(SocketStream(ours), frame_bytes_max=frame_bytes_max)
    return transport, Peer(SocketStream(theirs))


@pytest.fixture(params=[memory_pair, socket_pair], ids=["memory", "socket"])
def make(request: pytest.FixtureRequest) -> Callable[..., Pair]:
    make: Callable[..., Pair] = request.param
    return make


async def test_a_batch_holds_every_complete_frame_of_a_read(make: Callable[..., Pair]) -> None:
    transport, peer = make()
    await peer.send(frame(b"one") + frame("zwölf".encode()) + frame(b"\x00\xff", BINARY))
    assert await transport.receive() == ["one", "zwölf", b"\x00\xff"]
    transport.abort()
    await peer.stream.aclose()


async def test_frames_cut_anywhere_are_put_together() -> None:
    texts = ["", "a", "x" * 125, "y" * 126, "ö" * 32_000, "z"]
    sent = b"".join(frame(text.encode()) for text in texts)
    for step in (1, 2, 3, 7, 1000, 16_384):
        reader = FrameReader(LIMIT)
        got = [p for at in range(0, len(sent), step) for p in reader.feed(sent[at : at + step])]
        assert got == texts
        assert reader.ending is None


async def test_what_came_behind_the_request_head_is_received_first() -> None:
    ours, theirs = memory_stream_pair()
    early = frame(b"early") + frame(b"cut")
    transport = WebSocketTransport(ours, received=early[:-2])
    await theirs.send_all(early[-2:])
    assert await transport.receive() == ["early"]
    assert await transport.receive() == ["cut"]


async def test_payloads_of_all_sizes_go_out_as_text_frames_in_order(
    make: Callable[..., Pair],
) -> None:
    transport, peer = make()
    payloads = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65_535, b"e" * 65_536]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send_all, payloads)
        assert [await peer.next() for _ in payloads] == [(TEXT, p) for p in payloads]
    transport.abort()
    await peer.stream.aclose()


async def test_concurrent_senders_and_pongs_never_mix_their_frames() -> None:
    transport, peer = socket_pair()
    batches = [[bytes([65 + n]) * 70_000] * 4 for n in range(6)]

    async def read_forever() -> None:
        with pytest.raises(Closed):
            await transport.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_forever)
        for batch in batches:
            nursery.start_soon(transport.send_all, batch)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(frame(b"?", PING))
        await trio.testing.wait_all_tasks_blocked()
        got = [await peer.next() for _ in range(6 * 4 + 1)]
        await peer.send(close())
        assert await peer.next_close() == (1000, "")
    assert sorted(got) == sorted([*((TEXT, p) for b in batches for p in b), (PONG, b"?")])
    await peer.stream.aclose()


async def test_try_send_tells_when_the_kernel_is_full_and_drain_waits_for_it() -> None:
    transport, peer = socket_pair()
    sent = 0
    while transport.try_send([b"x" * 50_000]):
        sent += 1
    with trio.move_on_after(0.01) as scope:
        await transport.drain()
    assert scope.cancelled_caught, "nobody reads"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.drain)
        for _ in range(sent + 1):
            assert await peer.next() == (TEXT, b"x" * 50_000)
    assert transport.try_send([b"again"])
    assert await peer.next() == (TEXT, b"again")
    transport.abort()
    await peer.stream.aclose()


async def test_sending_to_a_peer_that_is_gone_raises_nothing_and_keeps_its_last_words() -> None:
    transport, peer = socket_pair()
    await peer.send(frame(b"last") + close(1001))
    await peer.stream.aclose()
    for _ in range(3):
        await transport.send_all([b"x"])
    assert await transport.receive() == ["last"]
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.clean) == (1001, True)


async def test_traffic_is_counted() -> None:
    ours, theirs = memory_stream_pair()
    traffic = Traffic()
    transport = WebSocketTransport(ours, traffic=traffic)
    await theirs.send_all(frame(b"abc") * 2)
    await transport.receive()
    await transport.send_all([b"x", b"yz"])
    assert (traffic.frames_in, traffic.frames_out) == (2, 2)
    assert (traffic.bytes_in, traffic.bytes_out) == (18, 7)


# ------------------------------------------------------------------------------ control frames


async def test_pings_are_answered_in_order_with_their_payloads(make: Callable[..., Pair]) -> None:
    transport, peer = make()
    await peer.send(frame(b"1", PING) + frame(b"", PING) + frame(b"p" * 125, PING) + frame(b"hi"))
    assert await transport.receive() == ["hi"]
    assert [await peer.next() for _ in range(3)] == [(PONG, b"1"), (PONG, b""), (PONG, b"p" * 125)]
    transport.abort()
    await peer.stream.aclose()


async def test_a_flood_of_pings_is_answered_for_the_newest_only() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(b"".join(frame(b"%d" % n, PING) for n in range(100)))
    assert reader.pongs is not None
    assert [pong[2:] for pong in reader.pongs] == [b"%d" % n for n in range(68, 100)]


async def test_unsolicited_pongs_are_ignored() -> None:
    transport, peer = memory_pair()
    await peer.send(frame(b"x", PONG) + frame(b"hi"))
    assert await transport.receive() == ["hi"]


async def test_control_frames_between_fragments_do_not_disturb_the_message() -> None:
    transport, peer = memory_pair()
    await peer.send(
        frame(b"one ", TEXT, fin=False)
        + frame(b"!", PING)
        + frame(b"two ", CONTINUATION, fin=False)
        + frame(b"", PONG)
        + frame(b"three", CONTINUATION)
        + frame(b"next")
    )
    assert await transport.receive() == ["one two three", "next"]
    assert await peer.next() == (PONG, b"!")


@pytest.mark.parametrize("step", [1, 2, 5, 100])
async def test_fragments_split_within_characters_and_reads(step: int) -> None:
    text = "grüße 🌳 " * 20
    data = text.encode()
    pieces = [data[at : at + 3] for at in range(0, len(data), 3)]
    sent = b"".join(
        frame(piece, TEXT if n == 0 else CONTINUATION, fin=n == len(pieces) - 1)
        for n, piece in enumerate(pieces)
    )
    sent += frame(b"\xff\x00", BINARY, fin=False) + frame(b"", CONTINUATION) + frame(b"end")
    reader = FrameReader(LIMIT)
    got = [p for at in range(0, len(sent), step) for p in reader.feed(sent[at : at + step])]
    assert got == [text, b"\xff\x00", "end"]


# ------------------------------------------------------------------------------ broken rules

FAULTS = {
    "unmasked text": (frame(b"x", masked=False), 1002),
    "unmasked ping": (frame(b"", PING, masked=False), 1002),
    "rsv1": (frame(b"x", rsv=4), 1002),
    "rsv3 on a ping": (frame(b"x", PING, rsv=1), 1002),
    "reserved data opcode": (frame(b"x", 3), 1002),
    "reserved control opcode": (frame(b"x", 11), 1002),
    "fragmented ping": (frame(b"x", PING, fin=False), 1002),
    "long ping": (frame(b"x" * 126, PING), 1002),
    "continuation of nothing": (frame(b"x", CONTINUATION), 1002),
    "unfinished continuation of nothing": (frame(b"x", CONTINUATION, fin=False), 1002),
    "text within a message": (frame(b"x", fin=False) + frame(b"y"), 1002),
    "16-bit length for 5 bytes": (frame(b"hello", long_form=2), 1002),
    "64-bit length for 200 bytes": (frame(b"x" * 200, long_form=8), 1002),
    "invalid UTF-8": (frame(b"\xce\xba\xff"), 1007),
    "UTF-8 cut off": (frame("ö".encode()[:1]), 1007),
    "surrogate in UTF-8": (frame(b"\xed\xa0\x80"), 1007),
    "invalid UTF-8 in a later fragment": (frame(b"\xce", fin=False) + frame(b"\xce", 0), 1007),
    "UTF-8 cut off in fragments": (frame(b"a", fin=False) + frame(b"\xce", CONTINUATION), 1007),
    "frame too large": (frame(b"x" * (LIMIT + 1)), 1009),
    "fragments too large": (frame(b"x" * LIMIT, fin=False) + frame(b"y", CONTINUATION), 1009),
    "header alone of a huge frame": (frame(b"")[:1] + b"\xff" + b"\x7f" * 8 + b"mask", 1009),
    "close with one byte": (frame(b"\x03", CLOSE), 1002),
    "close with a code below 1000": (close(999), 1002),
    "close with 1005": (close(1005), 1002),
    "close with 1006": (close(1006), 1002),
    "close with 1100": (close(1100), 1002),
    "close with 5000": (close(5000), 1002),
    "close reason not UTF-8": (close(1000, b"\xff"), 1007),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_broken_rule_ends_the_connection_with_its_code(name: str) -> None:
    data, code = FAULTS[name]
    transport, peer = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, frame(b"before") + data)
        assert await transport.receive() == ["before"]
        nursery.start_soon(_expect_fault, peer, code)
        with pytest.raises(Closed) as closed:
            await transport.receive()
    assert (closed.value.code, closed.value.clean) == (code, False)


async def _expect_fault(peer: Peer, code: int) -> None:
    assert (await peer.next_close())[0] == code
    assert await peer.ends()
    await peer.stream.aclose()


async def test_frames_up_to_the_limit_pass_even_with_64_bit_lengths() -> None:
    transport, peer = memory_pair()
    await peer.send(frame(b"x" * LIMIT) + frame(b"y" * 65_535))
    batch = [*await transport.receive()]
    while len(batch) < 2:
        batch += await transport.receive()
    assert batch == ["x" * LIMIT, "y" * 65_535]


async def test_the_close_frame_of_a_fault_arrives_although_the_peer_is_still_sending() -> None:
    transport, peer = socket_pair(frame_bytes_max=1000)

    async def flood() -> None:
        try:
            while True:
                await peer.send(frame(b"x" * 60_000))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        nursery.start_soon(_expect_closed, transport, 1009)
        assert (await peer.next_close())[0] == 1009
        assert await peer.ends()
        await peer.stream.aclose()


async def _expect_closed(transport: WebSocketTransport, code: int) -> None:
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert closed.value.code == code


# ------------------------------------------------------------------------------ closing


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 3999, 4000, 4999])
async def test_a_close_of_the_peer_is_echoed_and_clean(code: int) -> None:
    transport, peer = socket_pair()
    await peer.send(frame(b"before") + close(code, "schön".encode()) + b"garbage behind")
    assert await transport.receive() == ["before"]
    assert transport.try_send([b"a late reply"])
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.reason, closed.value.clean) == (code, "schön", True)
    assert await peer.next() == (TEXT, b"a late reply")
    assert await peer.next_close() == (code, "")
    assert await peer.ends()
    with pytest.raises(Closed):
        await transport.receive()
    await peer.stream.aclose()


async def test_a_close_without_a_code_is_1005_and_echoed_without_one() -> None:
    transport, peer = memory_pair()
    await peer.send(close(None))
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.clean) == (1005, True)
    assert await peer.next_close() == (None, "")


async def test_the_end_of_the_stream_without_a_close_is_1006(make: Callable[..., Pair]) -> None:
    transport, peer = make()
    await peer.send(frame(b"before") + frame(b"cut off")[:-1])
    await peer.stream.aclose()
    assert await transport.receive() == ["before"]
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.clean) == (1006, False)


async def test_our_close_sends_what_is_queued_and_waits_for_the_peer_s(
    make: Callable[..., Pair],
) -> None:
    transport, peer = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_closed, transport, 4012)
        await trio.testing.wait_all_tasks_blocked()
        transport.try_send([b"bye"])
        nursery.start_soon(transport.close, 4012, "drain")
        assert await peer.next() == (TEXT, b"bye")
        assert await peer.next_close() == (4012, "drain")
        transport.try_send([b"nobody reads this"])
        await peer.send(frame(b"nobody acts on this") + close(4012))
        assert await peer.ends()
    await peer.stream.aclose()


async def test_our_close_works_without_anybody_receiving() -> None:
    transport, peer = socket_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.close, 4001, "r" * 200)
        assert await peer.next_close() == (4001, "r" * 123)
        await peer.send(frame(b"ignored") + close(4001))
        assert await peer.ends()
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.clean) == (4001, True)
    await transport.close(1000)
    await peer.stream.aclose()


async def test_our_close_does_not_wait_beyond_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    transport, peer = memory_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_closed, transport, 4009)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        await transport.close(4009, "slow consumer", deadline_s=2.0)
        assert trio.current_time() == started + 2.0
    assert await peer.next_close() == (4009, "slow consumer")
    assert await peer.ends()


async def test_our_close_gives_up_on_a_peer_that_reads_nothing() -> None:
    transport, peer = socket_pair()
    while transport.try_send([b"x" * 50_000]):
        pass
    await transport.close(4009, "slow consumer", deadline_s=0.02)
    with pytest.raises(Closed) as closed:
        await transport.receive()
    assert (closed.value.code, closed.value.clean) == (4009, False)
    await peer.stream.aclose()


async def test_abort_ends_a_parked_reader_at_once(make: Callable[..., Pair]) -> None:
    transport, peer = make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_closed, transport, 1006)
        await trio.testing.wait_all_tasks_blocked()
        transport.abort()
    transport.abort()
    assert transport.try_send([b"x"])
    await peer.stream.aclose()


async def test_a_cancelled_receive_loses_nothing() -> None:
    transport, peer = socket_pair()
    whole = frame(b"whole")
    await peer.send(whole[:-1])
    with trio.move_on_after(0.01) as scope:
        await transport.receive()
    assert scope.cancelled_caught
    await peer.send(whole[-1:])
    assert await transport.receive() == ["whole"]
    transport.abort()
    await peer.stream.aclose()


# ------------------------------------------------------------------------------ pure parts


@given(st.binary(max_size=3000), st.binary(min_size=4, max_size=4))
def test_unmasking_is_xor_with_the_repeated_mask(payload: bytes, mask: bytes) -> None:
    assert unmask(payload, mask) == bytes(b ^ mask[n % 4] for n, b in enumerate(payload))


@given(st.integers(0, 2**32), st.lists(st.text(max_size=300), max_size=8))
def test_any_fragmentation_and_any_cutting_give_the_same_messages(
    seed: int, texts: list[str]
) -> None:
    rng = random.Random(seed)
    sent = b""
    for text in texts:
        data = text.encode()
        cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 3)))
        bounds = list(zip([0, *cuts], [*cuts, len(data)], strict=True))
        for n, (begin, end) in enumerate(bounds):
            opcode = TEXT if n == 0 else CONTINUATION
            sent += frame(data[begin:end], opcode, fin=n == len(bounds) - 1)
            if rng.random() < 0.3:
                sent += frame(b"ping", PING)
    reader = FrameReader(LIMIT)
    got, at = [], 0
    while at < len(sent):
        step = rng.randint(1, 60)
        got += reader.feed(sent[at : at + step])
        at += step
    assert got == texts
    assert reader.ending is None


@given(st.binary(max_size=200))
def test_garbage_never_raises(data: bytes) -> None:
    reader = FrameReader(100)
    for byte in data:
        reader.feed(bytes([byte]))


def test_close_reasons_are_cut_between_characters() -> None:
    assert close_frame(4000, "ö" * 100) == b"\x88\x7c\x0f\xa0" + "ö".encode() * 61
    assert encode_text([]) == b""
