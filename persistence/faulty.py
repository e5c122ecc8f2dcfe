"""Faults at the ports: any store, behind a hook that is awaited before each call.

```
log = faulty(stores.log, "log", before)     # awaits before("log.append"), then goes on
```

The hook may pass, wait, or raise: `StoreUnavailable`, as when nothing was done. With `after` a
second hook is awaited once the call has been carried out; raising `OutcomeUnknown` there is an
answer that got lost. What a fault does and how often is decided by whoever supplies the hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

Hook = Callable[[str], Awaitable[None]]
Port = TypeVar("Port")


def faulty(store: Port, name: str, before: Hook, after: Hook | None = None) -> Port:
    """`store` with `before("<name>.<method>")` awaited ahead of every call of a port's method."""
    return cast("Port", _Faulty(store, name, before, after))


class _Faulty:
    __slots__ = ("_after", "_before", "_name", "_store")

    def __init__(self, store: object, name: str, before: Hook, after: Hook | None) -> None:
        self._store = store
        self._name = name
        self._before = before
        self._after = after

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._store, method)
        if not callable(call):
            return call
        point = f"{self._name}.{method}"

        async def guarded(*arguments: Any, **keywords: Any) -> Any:
            await self._before(point)
            result = await call(*arguments, **keywords)
            if self._after is not None:
                await self._after(point)
            return result

        return guarded

    def __repr__(self) -> str:
        return f"<faulty {self._name}: {self._store!r}>"
