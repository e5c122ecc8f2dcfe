"""`python -m benchmarks.actor_systems`, which is `run.py bench actors`."""

import sys

from benchmarks.actor_systems.report import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
