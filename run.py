"""Start Coppice from a checkout: the same program as the console script `coppice`."""

import sys

HELP = (
    "coppice: {}; it needs Python 3.11 or newer and what `make run` puts into .venv,"
    " which `. .venv/bin/activate` makes the python of a shell"
)

if __name__ == "__main__":
    try:
        from gateway.cli import main

        sys.exit(main())
    except (ModuleNotFoundError, SyntaxError) as problem:
        sys.exit(HELP.format(problem))
