"""Frames in, frames out: what decodes, what is refused and by which name, what is written."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import codec, frames
from gateway.wire.codec import BadRequest, Malformed, UnknownOp, WireError, decode_request
from gateway.wire.codes import CloseCode, ErrorCode


def decode(**fields: Any) -> frames.Request:
    return decode_request(json.dumps(fields))


# ------------------------------------------------------------------------------ what decodes


def test_a_request_decodes_from_text_and_from_bytes() -> None:
    frame = '{"op":"send","id":2,"to":"@bob","text":"hi","cid":"c-1"}'
    expected = frames.Send(id=2, to="@bob", text="hi", cid="c-1")
    assert decode_request(frame) == expected
    assert decode_request(frame.encode()) == expected


def test_reserved_words_travel_under_their_wire_names() -> None:
    register = decode(op="register", user="alice", **{"pass": "correct horse"})
    assert register == frames.Register(user="alice", pass_="correct horse")
    delete = decode(op="delete", thread="t", seqs=[1], **{"for": "me"})
    assert delete == frames.Delete(thread="t", seqs=[1], for_="me")


def test_unknown_fields_are_ignored_whatever_they_contain() -> None:
    assert decode(op="hb", x="\x00", y=["\ud800"], z={"a": 1}) == frames.Heartbeat()


def test_null_counts_as_absent() -> None:
    assert decode(op="passwd", old="a", new="b", keep_others=None) == frames.Passwd(
        old="a", new="b"
    )
    with pytest.raises(BadRequest, match="`cursors` is missing"):
        decode(op="sync", cursors=None)


def test_null_clears_where_that_has_a_meaning() -> None:
    kept = decode(op="thread.set", thread="t")
    cleared = decode(op="thread.set", thread="t", muted_until=None)
    assert isinstance(kept, frames.ThreadSet)
    assert isinstance(cleared, frames.ThreadSet)
    assert kept.muted_until is msgspec.UNSET
    assert cleared.muted_until is None
    assert decode(op="contact.alias", uid="u", alias=None) == frames.ContactAlias(
        uid="u", alias=None
    )


def test_a_huge_id_is_echoed_and_other_huge_integers_saturate() -> None:
    request = decode(op="recv", id=10**30, thread="t", seq=10**30)
    assert request == frames.Recv(id=10**30, thread="t", seq=frames.INT_MAX)
    assert decode(op="sync", cursors={"t": -(10**30)}) == frames.Sync(cursors={"t": frames.INT_MIN})
    assert json.loads(codec.ok(request.id, {}))["id"] == 10**30


def test_an_escaped_backslash_before_u0000_is_plain_text() -> None:
    request = decode_request(b'{"op":"send","to":"x","text":"\\\\u0000"}')
    assert isinstance(request, frames.Send)
    assert request.text == "\\u0000"


def test_surrogate_pairs_are_one_character() -> None:
    request = decode_request(b'{"op":"send","to":"x","text":"\\ud83d\\ude00"}')
    assert isinstance(request, frames.Send)
    assert request.text == "\U0001f600"


# ------------------------------------------------------------------------- what is malformed


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"1",
        b'"hb"',
        b"{",
        b'{"op":"hb"} {}',
        b'{"op":"hb"}x',
        b"{}",
        b'{"op":1}',
        b'{"op":null}',
        b'{"op":"hb","id":true}',
        b'{"op":"hb","id":1.0}',
        b'{"op":"hb","id":[]}',
        b'{"op":"nope","id":{}}',
        b'{"op":"hb","x":NaN}',
        b'{"op":"hb","x":"\xff"}',
        b'{"op":"send","to":"x","text":"\xed\xa0\x80"}',
        b'{"op":"send","to":"x","text":"a\x00b"}',
        b'\xef\xbb\xbf{"op":"hb"}',
        b'{"op":"hb","x":' + b"[" * 60_000,
    ],
)
def test_what_is_not_one_object_with_op_and_id_is_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed):
        decode_request(payload)


# ------------------------------------------------------------------ what is refused by name


def test_an_unknown_operation_keeps_its_id() -> None:
    with pytest.raises(UnknownOp) as caught:
        decode(op="totp.start", id="a")
    assert (caught.value.op, caught.value.id) == ("totp.start", "a")


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ({"op": "send", "text": "x"}, "thread"),
        ({"op": "send", "text": "x", "to": "a", "thread": "b"}, "thread"),
        ({"op": "send", "to": "a"}, "text"),
        ({"op": "send", "to": "a", "text": 1}, "text"),
        ({"op": "send", "to": "a", "text": "a\x00"}, "text"),
        ({"op": "send", "to": "a", "text": "\ud800"}, "text"),
        ({"op": "send", "to": "a", "text": "x", "mentions": ["\udfff"]}, "mentions"),
        ({"op": "send", "to": "a", "text": "x", "reply_to": True}, "reply_to"),
        ({"op": "register", "user": "a"}, "pass"),
        ({"op": "register", "user": "a", "pass": 5}, "pass"),
        ({"op": "sync", "cursors": {"t": "x"}}, "cursors"),
        ({"op": "sync", "cursors": {"t\x00": 1}}, "cursors"),
        ({"op": "sync", "cursors": []}, "cursors"),
        ({"op": "delete", "thread": "t", "seqs": [1], "for": "you"}, "for"),
        ({"op": "delete", "thread": "t", "seqs": [[[1]]], "for": "me"}, "seqs"),
        ({"op": "group.role", "thread": "t", "user": "u", "role": "king"}, "role"),
        ({"op": "history", "thread": "t", "before": 1, "after": 1}, "before"),
        ({"op": "contact.add"}, "user"),
        ({"op": "react", "thread": "t", "seq": 1, "emoji": "x", "on": 1}, "on"),
        ({"op": "recv", "thread": "t", "seq": 1.5}, "seq"),
        ({"op": "presence", "uids": "u1"}, "uids"),
    ],
)
def test_a_bad_request_names_the_field(frame: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(id=7, **frame)
    assert caught.value.field == field
    assert f"`{field}`" in caught.value.msg
    assert (caught.value.op, caught.value.id) == (frame["op"], 7)


def test_an_id_that_cannot_be_echoed_is_refused_without_it() -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(b'{"op":"hb","id":"\\ud800"}')
    assert (caught.value.id, caught.value.field) == (None, "id")


# ------------------------------------------------------------------------------- properties

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
field_names = sorted(
    {f.encode_name for cls in frames.REQUESTS for f in msgspec.structs.fields(cls)}
)


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_garbage_raises_nothing_but_wire_errors(payload: bytes | str) -> None:
    with pytest.raises(WireError):
        decode_request(payload)


@given(
    op=st.sampled_from(sorted(codec.OPS)),
    fields=st.dictionaries(st.sampled_from(field_names), json_values, max_size=6),
)
def test_any_object_decodes_or_is_refused_with_something_encodable(
    op: str, fields: dict[str, Any]
) -> None:
    outcome = attempt(json.dumps({"op": op, **fields}))
    if isinstance(outcome, WireError):
        reply = json.loads(codec.error(outcome.id, outcome.code, outcome.msg))
        assert reply.get("id") == outcome.id
        assert isinstance(outcome, Malformed) or outcome.op == op
    else:
        assert outcome.__struct_config__.tag == op
        assert decode_request(msgspec.json.encode(outcome)) == outcome


def attempt(payload: str) -> frames.Request | WireError:
    try:
        return decode_request(payload)
    except WireError as error:
        return error


# ---------------------------------------------------------------------------------- encoding


def test_ok_carries_fields_and_raw_json_as_it_is() -> None:
    reply = codec.ok("r1", {"events": [msgspec.Raw(b'{"e":"msg","seq":1}')], "more": False})
    assert reply == b'{"op":"ok","id":"r1","events":[{"e":"msg","seq":1}],"more":false}'


def test_error_follows_its_code_and_leaves_out_an_absent_id() -> None:
    assert json.loads(codec.error(3, ErrorCode.RATE_LIMITED, "slow down", retry_ms=50)) == {
        "op": "err",
        "id": 3,
        "code": "rate_limited",
        "msg": "slow down",
        "temporary": True,
        "retry_ms": 50,
    }
    assert "id" not in json.loads(codec.error(None, ErrorCode.NOT_FOUND, "`thread`: none"))
    assert json.loads(codec.error(0, ErrorCode.CONFLICT, "\ud800"))["msg"] == "?"


def test_event_prefixes_the_envelope_without_decoding() -> None:
    assert codec.event(b'{"e":"msg","seq":1}') == b'{"op":"ev","e":"msg","seq":1}'


def test_connection_control_frames() -> None:
    hello = json.loads(
        codec.hello(
            hb_ms=4000, offline_ms=60000, auth_ms=10000, node="n1", now=5, limits={"sessions": 10}
        )
    )
    assert hello["op"] == "hello"
    assert hello["v"] == 1
    assert hello["limits"] == {"sessions": 10}
    assert codec.heartbeat(17) == b'{"op":"hb","now":17}'
    assert json.loads(codec.bye(CloseCode.DRAIN, retry_ms=700)) == {
        "op": "bye",
        "code": 4012,
        "reason": "drain",
        "retry_ms": 700,
    }
