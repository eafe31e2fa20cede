"""`python -m longlive_env`: the command line, where the script `longlive` is not on the path."""

import sys

from longlive_env.cli import main

if __name__ == "__main__":
    sys.exit(main())
