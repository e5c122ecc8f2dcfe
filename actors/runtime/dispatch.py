"""Who handles a message, by its kind: pykka's own go to an attribute or to the end, all others to
`on_receive`."""

from __future__ import annotations

from typing import Any

from pykka import messages as pykka_messages
from pykka._introspection import get_attr_directly

from actors.runtime.cell import Cell
from actors.runtime.exits import NORMAL
from actors.runtime.mailbox import Ask

SPECIAL = frozenset(
    {
        Ask,
        pykka_messages._ActorStop,
        pykka_messages.ProxyCall,
        pykka_messages.ProxyGetAttr,
        pykka_messages.ProxySetAttr,
    }
)
"""Messages that do not go to `on_receive` as they are."""


def dispatch(cell: Cell, message: Any) -> Any:
    """Hand a message to whoever handles its kind."""
    match message:
        case pykka_messages.ProxyCall():
            callee = get_attr_directly(cell.actor, message.attr_path)
            return callee(*message.args, **message.kwargs)
        case pykka_messages.ProxyGetAttr():
            return get_attr_directly(cell.actor, message.attr_path)
        case pykka_messages.ProxySetAttr():
            parent = get_attr_directly(cell.actor, message.attr_path[:-1])
            return setattr(parent, message.attr_path[-1], message.value)
        case pykka_messages._ActorStop():
            if cell.current is not None:
                cell.more().stop_answers.append(cell.current)  # answered when the end has come
                cell.current = None
            if cell.actor.stop_behind_messages:
                return cell.stop(NORMAL)  # and now it is
            return cell.actor.stop()
        case _:
            return cell.actor.on_receive(message)
