"""`python -m tests.supervision.model --trees 1000 --seed 0`: many trees, one line at the end."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter

from tests.supervision.model.comparison import disagreement, smallest, story
from tests.supervision.model.drawing import drawn
from tests.supervision.model.stage import counted

PROGRESS_TREES = 100


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.supervision.model", description=__doc__)
    parser.add_argument("--trees", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first tree; the next has +1")
    options = parser.parse_args(arguments)
    faults, counts = 0, Counter[str]()
    for number in range(options.trees):
        seed = options.seed + number
        case = drawn(seed)
        found, seen = disagreement(case, seed)
        if found is not None:
            small = smallest(case, seed)
            why = disagreement(small, seed)[0]
            print(f"seed {seed} disagrees: {found}\nat its smallest: {why}\n{story(small)}")
            return 1
        faults += seen.faults
        counts += counted(seen)
        if (number + 1) % PROGRESS_TREES == 0:
            print(f"{number + 1:,} trees, {faults:,} faults", flush=True)
    print(
        f"{options.trees:,} trees, {faults:,} faults, {counts['restarted']:,} restarts, "
        f"{counts['escalated']:,} escalations, {counts['retired']:,} retirements: all agree"
    )
    return 0


if __name__ == "__main__":
    logging.disable()  # crashes are the point here
    sys.exit(main())
