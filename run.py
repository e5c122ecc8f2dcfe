"""Start Coppice from a checkout: the same program as the console script `coppice`."""

import sys

from gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
