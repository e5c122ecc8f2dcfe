"""Work for the stories of tasks and streams, and who begins it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import trio
from outcome import Error, Outcome, Value

from actors.runtime import Actor, Ref
from supervision import ChildSpec, Tasks, TaskSupervisor
from tests.supervision.actors import SOON, Stage

TASKS = "tasks"


@dataclass
class Job:
    """Work with a log: what began, what ended how, how many were at it at once."""

    log: list[str] = field(default_factory=list)
    working: int = 0
    most: int = 0

    async def sleep(self, seconds: float) -> float:
        """Return what was given, so much later."""
        self.log.append(f"+{seconds}")
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await trio.sleep(seconds)
            self.log.append(f"={seconds}")
            return seconds
        finally:
            self.working -= 1
            self.log.append(f"-{seconds}")

    async def fail(self, text: str) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError(text)

    async def clean_up(self, seconds: float) -> None:
        """Work for ever; told to end, need so long for that."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
            self.log.append("clean")


def task_supervisor(**kwargs: Any) -> ChildSpec:
    return ChildSpec(TASKS, TaskSupervisor, (), kwargs, name=TASKS, kind="supervisor", backoff=SOON)


def children(stage: Stage) -> list[Ref | None]:
    actor = stage.ref(TASKS)._actor
    assert isinstance(actor, TaskSupervisor)
    return [info.ref for info in actor.infos()]


class Caller(Actor):
    """Begins work when told how, and keeps what it hears."""

    def __init__(self, heard: list[Any]) -> None:
        super().__init__()
        self.heard = heard

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.heard.append(message)
        return None


class Trapping(Caller):
    trap_exit: ClassVar[bool] = True


def plain(item: Any, outcome: Outcome[Any]) -> Any:
    """What a story compares: the value, or the item with the kind of error."""
    match outcome:
        case Value(value):
            return value
        case Error(error):
            return item, type(error)
        case _:
            raise AssertionError(outcome)


async def collect(tasks: Tasks, items: Any, work: Any, **options: Any) -> list[Any]:
    given = {"max_concurrency": 4} | options
    async with tasks.async_stream(items, work, **given) as stream:
        return [plain(item, outcome) async for item, outcome in stream]
