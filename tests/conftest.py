"""What every test stands on: chance that repeats itself, and nothing left to speed.

Examples are the same in every run, so that a change fails for its own sake.
`COPPICE_HYPOTHESIS=long` draws new ones, and more of them; what it finds becomes a test.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_UNHURRIED = [HealthCheck.too_slow]

settings.register_profile(
    "default", deadline=None, derandomize=True, suppress_health_check=_UNHURRIED
)
settings.register_profile(
    "long", deadline=None, max_examples=1000, suppress_health_check=_UNHURRIED
)
settings.load_profile("long" if os.environ.get("COPPICE_HYPOTHESIS") == "long" else "default")
