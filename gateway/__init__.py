"""The gateway: sockets on one side, the actor tree on the other, and the clients of both.

`wire` holds the protocol as values, `client` and `chat` speak it from outside, the rest serves it.
"""
