"""What tests of commands share."""

import sys
from pathlib import Path

import av
import pytest

from longlive_env.cli import main

CLI = [sys.executable, "-c", "import sys; from longlive_env.cli import main; sys.exit(main())"]
CAT, DOG = "a red cat jumps in the city", "a blue car moves left on the beach"


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def leaves_with(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    capsys.readouterr()
    try:
        status = main(argv)
    except SystemExit as exit:  # argparse leaves this way
        status = int(exit.code or 0)
    out, err = capsys.readouterr()
    return status, out, err
