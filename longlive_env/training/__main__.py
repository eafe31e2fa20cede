"""`python -m longlive_env.training STAGE --out DIR`."""

import sys

from longlive_env.training.command import run_stage

sys.exit(run_stage(sys.argv[1:]))
