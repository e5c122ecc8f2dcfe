"""One seed, one run: trio's scheduler made repeatable, for tests and experiments.

trio shuffles each batch of runnable tasks, so that nobody comes to rely on an order. It has a
switch, made for Hypothesis, that sorts the batch before shuffling it with one random generator;
seeded, and with a `MockClock`, a program that takes its own chance from seeds runs the same way
every time.

The switch and the generator are private names of trio. This module is the only one that touches
them, and refuses to run where they are missing rather than pretend.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trio._core import _run

_SWITCH, _GENERATOR = "_ALLOW_DETERMINISTIC_SCHEDULING", "_r"


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """Every trio run begun inside has its schedule decided by `seed`.

    Enter it outside of `trio.run`; several runs inside continue one sequence. Afterwards trio is as
    it was. Raises `RuntimeError` if this trio cannot be seeded.
    """
    private: Any = _run
    generator = getattr(private, _GENERATOR, None)
    if not hasattr(private, _SWITCH) or not isinstance(generator, random.Random):
        raise RuntimeError("this version of trio has no scheduler that can be seeded")
    switch, state = getattr(private, _SWITCH), generator.getstate()
    setattr(private, _SWITCH, True)
    generator.seed(seed)
    try:
        yield
    finally:
        setattr(private, _SWITCH, switch)
        generator.setstate(state)
