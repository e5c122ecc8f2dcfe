"""The schema of the stream of events, read off the classes: which there are, with which fields.

`python -m tests.events.schema` writes docs/events.md, and what the present version promises
(`schema.json`, beside this file). It refuses to take a promise back: then `EVENTS_VERSION` must
grow. `test_schema` keeps classes, promise and document in step.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import supervision
from actors.runtime.event_json import EVENTS_VERSION, LEFT_OUT
from actors.runtime.exits import ExitReason
from actors.runtime.tracing import Event

Schema = Mapping[str, Mapping[str, str]]
"""By event, its fields with their JSON types in words."""

PROMISE = Path(__file__).parent / "schema.json"
DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "events.md"

PACKAGES = ("actors", supervision.__name__)
"""Where events are defined."""

WORDS = {int: "integer", float: "number", str: "string", NoneType: "null"}

INTRODUCTION = """\
# Events

What happens in an actor system is told as typed events, to whoever listens:
`open_system(tracer=…)` from the beginning, `system.events.subscribe` from then on. Listeners are
called in the loop, in the order of what happened. While nobody listens events cost nothing.

```python
import trio
from actors.runtime import Actor, event_to_json, open_system


class Greeter(Actor):
    pass


def tell(event):
    fields = event_to_json(event)
    print(fields["v"], fields["event"], fields["name"], fields.get("reason"))


async def main():
    async with open_system(tracer=tell) as system:
        await system.start(Greeter, name="greeter")


if __name__ == "__main__":
    trio.run(main)
```

```text
1 Started greeter None
1 Exited greeter shutdown
```

`event_to_json` makes an object of an event. The server's `/events` streams these objects with a
number more, `n`, that counts without a gap; `{"event":"dropped","count":…}` says how many a slow
reader has missed.

Reasons of ends are in words: `normal`, `shutdown`, `killed`, `noproc`, an exception's class and
message, or what somebody gave. Of messages only the names of their types are told, and nothing of
what an actor holds.

**Version.** `v` is the version of this form. It grows when an event or a field goes away, or gets
another name, type or meaning. New events and new fields do not make it grow, so readers pass over
what they do not know.

Written by `python -m tests.events.schema`; a test fails while it is not what the classes say.
"""


def kinds() -> list[type[Event]]:
    """Every class of events of a running system, by name. Those that tests make up and those of the
    laboratory, which hold the faults themselves, are not of it."""
    return sorted(filter(_is_ours, set(_below(Event))), key=lambda kind: kind.__name__)


def _is_ours(kind: type[Event]) -> bool:
    package, _, rest = kind.__module__.partition(".")
    return package in PACKAGES and rest.partition(".")[0] != "lab"


def _below(base: type[Event]) -> Iterator[type[Event]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _below(kind)


def schema() -> Schema:
    return {kind.__name__: fields_of(kind) for kind in kinds()}


def fields_of(kind: type[Any], prefix: str = "") -> dict[str, str]:
    """The JSON types of a class's fields; those of an object in it under `field.its_field`."""
    hints = get_type_hints(kind)
    fields: dict[str, str] = {}
    for field in dataclasses.fields(kind):
        hint, name = hints[field.name], prefix + field.name
        if field.name in LEFT_OUT.get(kind, ()):
            continue
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            fields |= {name: "object", **fields_of(hint, f"{name}.")}
        else:
            fields[name] = json_type(hint)
    return fields


def json_type(hint: Any) -> str:
    """A type in words. Raises `TypeError` for one that no event may have."""
    if hint == ExitReason:
        return "reason"
    if hint in WORDS:
        return WORDS[hint]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(f'"{member.value}"' for member in hint)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(json_type(part) for part in get_args(hint))
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        return f"list of {json_type(get_args(hint)[0])}"
    raise TypeError(f"{hint} has no JSON form")


def broken_promises(promised: Schema, present: Schema) -> list[str]:
    """What a reader of the promised form would miss or misread in the present one."""
    broken = []
    for event, fields in promised.items():
        if event not in present:
            broken.append(f"{event}: gone")
            continue
        for field, kind in fields.items():
            found = present[event].get(field)
            if found is None:
                broken.append(f"{event}.{field}: gone")
            elif found != kind:
                broken.append(f"{event}.{field}: was {kind}, is {found}")
    return broken


def read_promise() -> tuple[int, Schema]:
    """The version that was written last, and what it promises."""
    written = json.loads(PROMISE.read_text())
    return written["version"], written["events"]


# ---------------------------------------------------------------------- rendering


def render(version: int, present: Schema) -> str:
    """The whole document."""
    common = fields_of(Event)
    docs = {kind.__name__: " ".join((inspect.getdoc(kind) or "").split()) for kind in kinds()}
    lines = [INTRODUCTION, f"## Version {version}", "", "Every event has", ""]
    lines += ["| Field | Type | |", "|---|---|---|"]
    told = {
        "at_s": "when, in seconds of the loop's clock",
        "id": "whom it is about: its number in the system, 0 for nobody",
        "name": "the name it has",
        "incarnation": "which of that name",
        "actor": "its class",
    }
    lines += ["| `v` | integer | the version |", "| `event` | string | the name below |"]
    lines += [f"| `{name}` | {kind} | {told[name]} |" for name, kind in common.items()]
    lines += ["", "and of its own", "", "| Event | Fields | Tells |", "|---|---|---|"]
    for event, fields in present.items():
        own = [f"`{name}` {kind}" for name, kind in fields.items() if name not in common]
        lines.append(f"| `{event}` | {'<br>'.join(own)} | {docs[event]} |")
    return "\n".join(lines) + "\n"


def promise(version: int, present: Schema) -> str:
    return json.dumps({"version": version, "events": present}, indent=2) + "\n"


def main() -> int:
    """Write promise and document: 1, and nothing is written, if the version must grow first."""
    present = schema()
    version, promised = read_promise() if PROMISE.exists() else (0, {})
    broken = broken_promises(promised, present) if version == EVENTS_VERSION else []
    if broken:
        print("EVENTS_VERSION must grow:", *broken, sep="\n", file=sys.stderr)
        return 1
    PROMISE.write_text(promise(EVENTS_VERSION, present))
    DOCUMENT.write_text(render(EVENTS_VERSION, present))
    return 0


if __name__ == "__main__":
    sys.exit(main())
