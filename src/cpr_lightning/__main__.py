"""``python -m cpr_lightning``."""

import sys

from cpr_lightning.cli import main

if __name__ == "__main__":
    sys.exit(main())
