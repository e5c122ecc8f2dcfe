"""A supervisor's spec changed while it runs: what becomes of the children it has.

OTP's rule for code change (supervisor(3)): limits and the specs of known children are replaced,
their incarnations stay; new children are added, but nobody starts them; those the new spec does not
mention stay as they are, after the others. Whatever must not run any more is terminated by hand.
"""

from __future__ import annotations

from collections.abc import Sequence

from supervision.spec import ChildSpec, SupervisorSpec


def upgraded(present: Sequence[ChildSpec], new: SupervisorSpec) -> tuple[ChildSpec, ...]:
    """All specs after the change, in the new start order."""
    mentioned = {child.id for child in new.children}
    return (*new.children, *(child for child in present if child.id not in mentioned))
