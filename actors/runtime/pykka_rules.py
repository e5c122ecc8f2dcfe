"""pykka's rules, all of them: the base class for actors written for pykka.

What each flag means is said where it is declared, at `Actor`; `docs/pykka.md` says what differs in
spite of them. pykka's own tests run against this class.
"""

from __future__ import annotations

from actors.runtime.actor import Actor


class PykkaActor(Actor):
    """An actor that keeps pykka's rules wherever they quarrel with OTP's."""

    crash_on_ask_error = False
    pykka_registry = True
    pykka_names = True
    answers_unexpected_asks = True
    stop_behind_messages = True
    stopped_before_hooks = True
    stop_all_on_base_exception = True
