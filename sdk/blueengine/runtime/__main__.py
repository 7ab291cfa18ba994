"""A worker process; see ``spawn``."""

import sys

from blueengine.runtime.child import main

if __name__ == "__main__":
    sys.exit(main())
