"""Bytes to requests, answers to bytes.

Problem: most frames are well-formed and must cost one decode; the others must be told apart
precisely (malformed, unknown operation, a named field at fault), which takes a second look.

Rule: a tagged-union decoder goes first. Only when it fails, or when the frame contains the escape
of NUL, the frame is read again by the standard library (which accepts lone surrogates, where
msgspec cannot say what is wrong) and examined step by step. That second look also gives the frame
its benefit of the doubt: `null` counts as absent, integers beyond 64 bits saturate.

Encoders write the envelope around fields that may hold `msgspec.Raw`, so what was encoded once is
never decoded again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn

import msgspec

from gateway.wire import PROTOCOL_VERSION
from gateway.wire.codes import CloseCode, ErrorCode
from gateway.wire.frames import INT_MAX, INT_MIN, REQUESTS, Request, RequestId


class WireError(Exception):
    """A frame that is no request. `op` and `id` are what could be read of it, `code` answers it."""

    code: ClassVar[ErrorCode] = ErrorCode.BAD_REQUEST

    def __init__(self, msg: str, op: str = "", id: RequestId | None = None) -> None:  # noqa: A002
        super().__init__(msg)
        self.msg = msg
        self.op = op
        self.id = id


class Malformed(WireError):
    """Not one JSON object with a text `op` and, if any, an integer or text `id`."""


class UnknownOp(WireError):
    """Well-formed, but the operation does not exist."""

    code = ErrorCode.UNKNOWN_OP


class BadRequest(WireError):
    """A known operation with a missing or unusable field; `msg` names it, as `field` does."""

    def __init__(self, msg: str, op: str, id: RequestId | None, field: str) -> None:  # noqa: A002
        super().__init__(msg, op, id)
        self.field = field


# -------------------------------------------------------------------------------------- decoding

_decode: Final = msgspec.json.Decoder(Request).decode
_BY_OP: Final = {str(cls.__struct_config__.tag): cls for cls in REQUESTS}
_FIELDS: Final = {
    op: frozenset(field.encode_name for field in msgspec.structs.fields(cls))
    for op, cls in _BY_OP.items()
}
_NULL_MATTERS: Final = frozenset({"muted_until", "alias"})
"""Fields that a null clears; everywhere else it counts as absent."""

_NUL_ESCAPE_BYTES: Final = b"\\u0000"
_NUL_ESCAPE_TEXT: Final = "\\u0000"
_UNUSABLE: Final = re.compile("[\x00\ud800-\udfff]")
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?(\w*)[^`]*`$")
_QUOTED: Final = re.compile(r"`(\w+)`")

OPS: Final[frozenset[str]] = frozenset(_BY_OP)
"""Every operation that is implemented."""


def decode_request(payload: bytes | bytearray | str) -> Request:
    """The request in one frame. Raises Malformed, UnknownOp or BadRequest.

    A well-formed frame costs one msgspec decode. Numbers come back within 64 bits, texts without
    NUL and lone surrogates, `id` as the client wrote it.
    """
    try:
        request: Request = _decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _examine(payload)
    return request if _is_plain(payload) else _examine(payload)


def _is_plain(payload: bytes | bytearray | str) -> bool:
    """Whether a frame that decoded needs no second look.

    msgspec accepts the escape of NUL, and skips unknown fields without looking at their UTF-8.
    """
    if isinstance(payload, str):
        return _NUL_ESCAPE_TEXT not in payload
    if _NUL_ESCAPE_BYTES in payload:
        return False
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _examine(payload: bytes | bytearray | str) -> Request:
    """The long way: find out what is wrong, or that nothing is."""
    frame = _parse(payload)
    op, id_ = _envelope(frame)
    cls = _BY_OP.get(op)
    if cls is None:
        raise UnknownOp(f"`op`: there is no operation {op[:64]!r}", op, id_)
    known: dict[str, Any] = {}
    for name, value in frame.items():
        if name == "op" or name not in _FIELDS[op]:
            continue
        if value is None and name not in _NULL_MATTERS:
            continue
        if not _is_clean(value):
            raise BadRequest(f"`{name}` contains NUL or a lone surrogate", op, id_, name)
        known[name] = value if name == "id" else _saturated(value)
    try:
        request: Request = msgspec.convert({"op": op, **known}, cls)  # type: ignore[assignment]
    except msgspec.ValidationError as error:
        _refuse(str(error), op, id_)
    return request


def _parse(payload: bytes | bytearray | str) -> dict[str, Any]:
    try:
        text = payload if isinstance(payload, str) else payload.decode()
        frame = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("the frame is not JSON") from None
    if not isinstance(frame, dict):
        raise Malformed("the frame is not one JSON object")
    return frame


def _no_constant(name: str) -> NoReturn:
    """The standard library accepts NaN and Infinity; JSON does not."""
    raise ValueError(name)


def _envelope(frame: dict[str, Any]) -> tuple[str, RequestId | None]:
    op, id_ = frame.get("op"), frame.get("id")
    if not isinstance(op, str):
        raise Malformed("`op` is missing or not text")
    if isinstance(id_, bool) or not isinstance(id_, int | str | None):
        raise Malformed("`id` is neither an integer nor text")
    if isinstance(id_, str) and not _is_clean(id_):
        # What cannot be encoded cannot be echoed.
        raise BadRequest("`id` contains NUL or a lone surrogate", _printable(op), None, "id")
    if not _is_clean(op):
        raise BadRequest("`op` contains NUL or a lone surrogate", _printable(op), id_, "op")
    return op, id_


def _printable(text: str) -> str:
    return _UNUSABLE.sub("?", text)


def _is_clean(value: object) -> bool:
    """Whether no text in this value contains NUL or a lone surrogate.

    No field nests deeper than a list or a map, so neither does this look; what does nest deeper
    is refused for its type.
    """
    if isinstance(value, str):
        return _UNUSABLE.search(value) is None
    if isinstance(value, list | dict):
        return all(_UNUSABLE.search(item) is None for item in value if isinstance(item, str))
    return True


def _saturated(value: Any) -> Any:
    """The same value with its integers (also those in a list or a map) held within 64 bits."""
    if isinstance(value, list):
        return [_within_64_bits(item) for item in value]
    if isinstance(value, dict):
        return {name: _within_64_bits(item) for name, item in value.items()}
    return _within_64_bits(value)


def _within_64_bits(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return min(max(value, INT_MIN), INT_MAX)
    return value


def _refuse(error: str, op: str, id_: RequestId | None) -> NoReturn:
    """Turn msgspec's complaint into ours: the field first, then what is wrong with it."""
    path = _PATH.search(error)
    complaint = error[: path.start()] if path else error
    if path and path[1]:
        raise BadRequest(f"`{path[1]}`: {complaint}", op, id_, path[1])
    quoted = _QUOTED.search(complaint)
    field = quoted[1] if quoted else "op"
    if complaint.startswith("Object missing required field"):
        complaint = f"`{field}` is missing"
    raise BadRequest(complaint, op, id_, field)


# -------------------------------------------------------------------------------------- encoding

_encode: Final = msgspec.json.Encoder().encode


def ok(id: RequestId | None, fields: Mapping[str, Any]) -> bytes:  # noqa: A002
    """The reply to a request that had an id (one without is not answered: do not call)."""
    return _encode({"op": "ok", "id": id, **fields})


def error(
    id: RequestId | None,  # noqa: A002
    code: ErrorCode,
    msg: str,
    temporary: bool | None = None,
    retry_ms: int = 0,
) -> bytes:
    """An error; without `id` when the request had none. `temporary` follows the code."""
    frame: dict[str, Any] = {"op": "err"} if id is None else {"op": "err", "id": id}
    frame["code"] = code
    frame["msg"] = _printable(msg)
    frame["temporary"] = code.temporary if temporary is None else temporary
    frame["retry_ms"] = retry_ms
    return _encode(frame)


def event(raw_event_json: bytes) -> bytes:
    """The push of an event whose object (without `op`, with at least `e`) is encoded already."""
    assert raw_event_json.startswith(b'{"'), "an event is a JSON object with at least one field"
    return b'{"op":"ev",' + raw_event_json[1:]


def hello(
    *,
    hb_ms: int,
    offline_ms: int,
    auth_ms: int,
    node: str,
    now: int,
    limits: Mapping[str, int],
) -> bytes:
    """The first frame of a connection. `now` is in milliseconds since the epoch."""
    return _encode(
        {
            "op": "hello",
            "v": PROTOCOL_VERSION,
            "hb_ms": hb_ms,
            "offline_ms": offline_ms,
            "auth_ms": auth_ms,
            "node": node,
            "now": now,
            "limits": limits,
        }
    )


def heartbeat(now: int) -> bytes:
    """The answer to `hb`. `now` is in milliseconds since the epoch."""
    return b'{"op":"hb","now":%d}' % now


def bye(code: CloseCode, reason: str | None = None, retry_ms: int = 0) -> bytes:
    """The frame before a server-side close."""
    return _encode(
        {"op": "bye", "code": int(code), "reason": reason or code.meaning, "retry_ms": retry_ms}
    )
