"""What measurements share that print figures and keep them as JSON: options, and the file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options `--threads` and `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the command line, and use as many threads as it says."""
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    return args


def write(figures: Mapping[Any, Any], out: Path | None) -> None:
    """Write figures to a file, if one is given."""
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
