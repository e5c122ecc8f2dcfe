"""The table of links and monitors against the simplest model that could be right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from actors.runtime.links import LinkTable, MonitorRef, Owed

ids = st.integers(1, 6)


class LinksMachine(RuleBasedStateMachine):
    """The model: a set of pairs and a list of monitors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = LinkTable()
        self.pairs: set[frozenset[int]] = set()
        self.monitors: list[MonitorRef] = []

    @rule(a=ids, b=ids)
    def link(self, a: int, b: int) -> None:
        self.table.link(a, b)
        if a != b:
            self.pairs.add(frozenset((a, b)))

    @rule(a=ids, b=ids)
    def unlink(self, a: int, b: int) -> None:
        self.table.unlink(a, b)
        self.pairs.discard(frozenset((a, b)))

    @rule(a=ids, b=ids)
    def monitor(self, a: int, b: int) -> None:
        self.monitors.append(self.table.monitor(a, b))

    @rule(data=st.data())
    def demonitor(self, data: st.DataObject) -> None:
        if self.monitors:
            monitor = data.draw(st.sampled_from(self.monitors))
            self.monitors.remove(monitor)
            assert self.table.demonitor(monitor)
            assert not self.table.demonitor(monitor)

    @rule(dead=ids)
    def exit(self, dead: int) -> None:
        owed = self.table.exited(dead)
        linked = sorted(other for pair in self.pairs if dead in pair for other in pair - {dead})
        told = [m for m in self.monitors if m.watched == dead != m.watcher]
        assert owed == Owed(tuple(linked), tuple(told))
        self.pairs = {pair for pair in self.pairs if dead not in pair}
        self.monitors = [m for m in self.monitors if dead not in (m.watcher, m.watched)]
        assert self.table.exited(dead) == Owed(), "an end is told once"

    @invariant()
    def links_are_symmetric(self) -> None:
        for a in range(1, 7):
            for b in range(1, 7):
                assert self.table.is_linked(a, b) == (frozenset((a, b)) in self.pairs)
                assert self.table.is_linked(a, b) == self.table.is_linked(b, a)

    def teardown(self) -> None:
        for dead in range(1, 7):
            self.table.exited(dead)
        assert len(self.table) == 0, "nothing of the dead is kept"


TestLinks = LinksMachine.TestCase


@given(st.integers(1, 20))
def test_monitors_stack_in_the_order_they_were_made(count: int) -> None:
    table = LinkTable()
    made = [table.monitor(1, 2) for _ in range(count)]
    assert table.exited(2).monitors == tuple(made)
