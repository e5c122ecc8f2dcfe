"""The stream of events keeps its promise, and the document tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, get_type_hints

import pytest

from actors.runtime import Actor, CrashReport, Custom, StatusView, event_to_json, open_system
from actors.runtime.event_json import EVENTS_VERSION
from actors.runtime.exits import ExitReason
from actors.runtime.tracing import Crashed, Event, Exited
from tests.events.schema import (
    DOCUMENT,
    PROMISE,
    broken_promises,
    fields_of,
    json_type,
    kinds,
    promise,
    read_promise,
    render,
    schema,
)

COMMAND = "python -m tests.events.schema"


def test_no_promise_is_taken_back_without_a_new_version() -> None:
    version, promised = read_promise()
    assert version <= EVENTS_VERSION, "a version does not shrink"
    if version == EVENTS_VERSION:
        assert broken_promises(promised, schema()) == [], "EVENTS_VERSION must grow"


def test_promise_and_document_are_what_the_classes_give() -> None:
    assert PROMISE.read_text() == promise(EVENTS_VERSION, schema()), COMMAND
    assert DOCUMENT.read_text() == render(EVENTS_VERSION, schema()), COMMAND


@pytest.mark.parametrize(
    ("promised", "present", "broken"),
    [
        ({"A": {}}, {}, ["A: gone"]),
        ({"A": {"x": "string"}}, {"A": {}}, ["A.x: gone"]),
        ({"A": {"x": "string"}}, {"A": {"x": "integer"}}, ["A.x: was string, is integer"]),
        ({"A": {"x": "string"}}, {"A": {"x": "string", "y": "null"}, "B": {}}, []),
    ],
)
def test_what_is_new_breaks_nothing(
    promised: dict[str, dict[str, str]], present: dict[str, dict[str, str]], broken: list[str]
) -> None:
    assert broken_promises(promised, present) == broken


def test_a_field_that_could_hold_anything_has_no_form() -> None:
    with pytest.raises(TypeError, match="no JSON form"):
        json_type(Any)

    @dataclass(frozen=True, slots=True)
    class Loose(Event):
        message: object

    with pytest.raises(TypeError, match="no field of type bytes"):
        event_to_json(Loose(0.0, 1, None, 1, "A", b"secret"))


def example(hint: Any) -> Any:
    """Some value of a type that a field may have."""
    if hint is CrashReport:
        return CrashReport("A 1", Custom("why"), "a.A", ("B 2",), view=StatusView("secret"))
    if hint == ExitReason:
        return Custom("why")
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    return {int: 1, float: 1.5, str: "text"}.get(hint)


@pytest.mark.parametrize("kind", kinds())
def test_every_event_has_the_promised_form(kind: type[Event]) -> None:
    hints = get_type_hints(kind)
    event = kind(**{field.name: example(hints[field.name]) for field in fields(kind)})
    told = event_to_json(event)
    assert (told.pop("v"), told.pop("event")) == (EVENTS_VERSION, kind.__name__)
    assert json.loads(json.dumps(told)) == told
    nested = {f"{name}.{key}" for name, value in told.items() if name == "report" for key in value}
    assert told.keys() | nested == fields_of(kind).keys()
    assert "secret" not in str(told)


class Open(Actor):
    """Lets everything be seen, in its crash report."""

    def on_receive(self, message: Any) -> None:
        raise ValueError

    def format_status(self, view: StatusView) -> StatusView:
        return view


async def test_what_was_said_is_in_no_event_whatever_the_actor_shows() -> None:
    heard: list[Event] = []
    async with open_system(tracer=heard.append) as system:
        ref = await system.start(Open)
        assert ref is not None
        ref.cast("quiet words")
        ref.cast("more quiet words")
        await ref.wait_exit()
    (crashed,) = (event for event in heard if isinstance(event, Crashed))
    assert crashed.report.view.message == "quiet words"
    assert any(isinstance(event, Exited) for event in heard)
    assert not any("quiet words" in json.dumps(event_to_json(event)) for event in heard)
