"""`longlive verify`: compare this engine with recorded reference outputs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from longlive_env.cli.parser import Parser
from longlive_env.engine.config import Backend, CompileMode, Precision

FAILED = 1


def main(argv: Sequence[str]) -> int:
    """Parse the arguments, compare, print the table; status 1 if a case fails."""
    parser = Parser(
        "longlive verify",
        "Run recorded inputs of a reference implementation through this engine and compare the outputs.\n"
        "The exit status is 1 if the relative error of a case exceeds the tolerance.",
        (
            "longlive verify --cases tests/data/parity",
            "longlive verify --cases tests/data/parity --device cuda --precision bf16 --compile graphs",
        ),
    )
    parser.add_argument(
        "--cases", type=Path, required=True, metavar="DIR", help="folder with cases/ and mini/"
    )
    parser.add_argument(
        "--tolerance",
        type=_positive,
        metavar="X",
        help="largest relative error that passes (default: 1e-5, more on a GPU or in 8 or 16 bits)",
    )
    parser.add_argument("--device", default="cpu", help="where the engine runs (cpu)")
    parser.add_argument(
        "--precision", choices=get_args(Precision), help="precision of the transformer (float32)"
    )
    parser.add_argument(
        "--compile", choices=get_args(CompileMode), default="off", help="compile the passes (off)"
    )
    parser.add_argument(
        "--attention", choices=get_args(Backend), default="auto", help="kernel of the attention (auto)"
    )
    args = parser.parse_args(argv)
    from longlive_env.verify import Setting, verify_cases

    setting = Setting(args.device, args.precision, args.compile, args.attention)
    results = verify_cases(args.cases, args.tolerance, setting)
    width = max(len(result.case) for result in results)
    print(f"{'case':<{width}}  error     tolerance  verdict")
    for result in results:
        found = f"{result.relative_error:<8.1e}  {result.tolerance:<9.1e}  {result.verdict}"
        print(f"{result.case:<{width}}  {found}" + ("" if result.passed else f"  {result.detail}"))
    failed = sum(not result.passed for result in results)
    print(f"{len(results) - failed} of {len(results)} cases agree")
    return FAILED if failed else 0


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a tolerance; give a number above 0, such as 1e-5")
    return value
