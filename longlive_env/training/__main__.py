"""`python -m longlive_env.training STAGE --out DIR`."""

import sys

from longlive_env.training.command import main

sys.exit(main(sys.argv[1:]))
