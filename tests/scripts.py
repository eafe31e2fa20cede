"""Loads scripts that belong to no package, as modules."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # as when one of them runs as a script


def benchmark(name: str) -> ModuleType:
    """The script of that name in `benchmarks/`."""
    return importlib.import_module(name)
