"""The wire protocol `chat.v1` as values: what may be said, and when.

`frames` names every request, `codec` turns bytes into them and answers into bytes, `codes` lists
what can go wrong, `protocol` says which operation is legal in which phase of a connection, and
`limits` holds the numbers a server advertises. Server and client share this package; nothing in
it touches a socket, a clock or a thread.
"""

PROTOCOL_VERSION = 1
"""The `v` of `hello`."""

SUBPROTOCOL_JSON = "chat.v1.json"
"""The `Sec-WebSocket-Protocol` value of JSON text frames; the default when none is offered."""
