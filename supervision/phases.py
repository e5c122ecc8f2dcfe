"""Coordinated shutdown: named phases, one after the other, each with a deadline (Akka's).

**Problem.** A supervisor stops what it has started. A program has more to end than its tree, in an
order that is no tree's: first nothing new comes in, then those who are connected are told, then
actors end. It has to be over in time whatever hangs, and is often asked for twice.

**Rule.** Whoever has something to end adds it to a phase. The tasks of a phase run at the same
time; one that fails or is late is reported and hurts no other. Then the next phase begins, unless
this one is `required`. All of it happens once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import trio

logger = logging.getLogger("supervision")

Task = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Phase:
    """`required`: if one of its tasks fails or is late, no phase after it begins."""

    name: str
    deadline_s: float
    required: bool = False


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """How a phase went. `failed` are the tasks that raised, and what; `late` those that were
    cancelled, at its deadline or with the whole shutdown. `reason` is why there is a shutdown."""

    phase: str
    reason: str
    took_s: float
    failed: dict[str, Exception] = field(default_factory=dict)
    late: tuple[str, ...] = ()

    @property
    def went_well(self) -> bool:
        return not self.failed and not self.late


class CoordinatedShutdown:
    """The shutdown of one program. Made in the loop it runs in; `on_phase` hears of the end of each
    phase, and writes a line to the log if none is given."""

    def __init__(
        self, *phases: Phase, on_phase: Callable[[PhaseEnded], None] | None = None
    ) -> None:
        names = [phase.name for phase in phases]
        for phase in phases:
            if names.count(phase.name) > 1:
                raise ValueError(f"phases: there are two of the name {phase.name!r}")
            if not phase.deadline_s > 0:
                raise ValueError(f"{phase.name}.deadline_s: {phase.deadline_s!r} is not above zero")
        self.reason: str | None = None
        """Why, once it was asked for: the first reason that was given."""
        self._phases = phases
        self._tasks: dict[str, dict[str, Task]] = {name: {} for name in names}
        self._on_phase = on_phase or log_phase
        self._token = trio.lowlevel.current_trio_token()
        self._requested, self._over = trio.Event(), trio.Event()
        self._is_running = False
        self._ended: list[PhaseEnded] = []

    def add(self, phase: str, name: str, task: Task) -> None:
        """Do this in a phase; `name` is for reports. Raises `ValueError` for a phase that is none
        or has begun, so that nothing is added in vain, or for a name the phase has already."""
        if phase not in self._tasks:
            raise ValueError(f"phase: {phase!r} is none of those to come: {', '.join(self._tasks)}")
        if name in self._tasks[phase]:
            raise ValueError(f"name: {phase} has a task {name!r} already")
        self._tasks[phase][name] = task

    def request(self, reason: str) -> None:
        """Ask for the shutdown: whoever waits in `requested` is woken. From anywhere, a signal
        handler or another thread too. Later reasons change nothing."""
        self.reason = self.reason or reason
        try:
            self._token.run_sync_soon(self._requested.set, idempotent=True)
        except trio.RunFinishedError:
            return  # there is nothing left to shut down

    async def requested(self) -> str:
        """Wait until somebody asks for it; why."""
        await self._requested.wait()
        assert self.reason is not None, "it was requested with a reason"
        return self.reason

    async def run(self, reason: str) -> tuple[PhaseEnded, ...]:
        """Shut down, or wait until it is over if that was begun already; how its phases went.

        Raises nothing. If it is cancelled, its tasks are too, and no further phase begins; whoever
        else waits goes on then. A task of a phase that waits for it waits for itself, and is late.
        """
        self.request(reason)
        if self._is_running:
            await self._over.wait()
            return tuple(self._ended)
        self._is_running = True
        try:
            for phase in self._phases:
                ended = await self._run(phase)
                if phase.required and not ended.went_well:
                    break
        finally:
            self._over.set()
        return tuple(self._ended)

    async def _run(self, phase: Phase) -> PhaseEnded:
        began_s = trio.current_time()
        failed: dict[str, Exception] = {}
        left = self._tasks.pop(phase.name)

        async def do(name: str, task: Task) -> None:
            try:
                await task()
            except Exception as error:  # noqa: BLE001  (reported; the others go on)
                failed[name] = error
            except BaseExceptionGroup as group:  # it was cancelled, and has failed besides
                failure, others = group.split(Exception)
                if failure is not None:
                    failed[name] = failure
                    del left[name]
                if others is not None:
                    raise others from None
                return
            del left[name]

        try:
            with trio.move_on_after(phase.deadline_s):
                async with trio.open_nursery() as nursery:
                    for name, task in tuple(left.items()):
                        nursery.start_soon(partial(do, name, task), name=f"{phase.name}: {name}")
        finally:
            took_s = trio.current_time() - began_s
            ended = PhaseEnded(phase.name, self.reason or "", took_s, failed, tuple(left))
            self._ended.append(ended)
            self._tell(ended)
        return ended

    def _tell(self, ended: PhaseEnded) -> None:
        try:
            self._on_phase(ended)
        except Exception:
            logger.exception("shutdown: nobody could be told of the end of phase %s", ended.phase)


def log_phase(ended: PhaseEnded) -> None:
    """One line for each phase, one more with a traceback for each task that failed."""
    for name, error in ended.failed.items():
        logger.error("shutdown: %s of phase %s failed", name, ended.phase, exc_info=error)
    logger.log(
        logging.INFO if ended.went_well else logging.WARNING,
        "shutdown: phase %s took %.3f s (failed: %s; late: %s; reason: %s)",
        ended.phase, ended.took_s, ", ".join(ended.failed) or "none",
        ", ".join(ended.late) or "none", ended.reason,
    )  # fmt: skip
