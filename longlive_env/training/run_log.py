"""Output of a run: rows of `log.jsonl`, sample sheets, and a progress bar, from the first process only."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor

from longlive_env.engine.whole_files import write_whole
from longlive_env.errors import TrainingError
from longlive_env.training import parallel

Show = Callable[[float, int, Mapping[str, float]], None]  # (progress 0 .. 1, step, values)

logger = logging.getLogger(__name__)


class RunLog:
    """The log of a run's folder.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._sheets = folder / "log.jsonl", folder / "sheets"

    def write(self, step: int, elapsed_s: float, values: Mapping[str, float]) -> None:
        """Add a row."""
        if parallel.rank():
            return
        row = {"step": step, "elapsed_s": round(elapsed_s, 1)}
        row |= {name: round(value, 6) for name, value in values.items()}
        with open(self._file, "a") as file:
            file.write(json.dumps(row) + "\n")

    def back_to(self, step: int) -> None:
        """Drop rows after a step, which the run will log again."""
        if parallel.rank() or not self._file.exists():
            return
        rows = [line for line in self._file.read_text().splitlines() if _step(line) <= step]
        write_whole(self._file, "".join(line + "\n" for line in rows))

    def picture(self, step: int, sheet: Tensor) -> None:
        """Save a sample sheet, uint8 [H, W, 3], if Pillow is installed."""
        if parallel.rank():
            return
        try:
            from PIL import Image
        except ImportError:
            logger.info("no sample sheet: Pillow is not installed")
            return
        self._sheets.mkdir(exist_ok=True)
        Image.fromarray(sheet.cpu().numpy()).save(self._sheets / f"{step:07d}.png")


def _step(line: str) -> float:
    """The step of a row, or infinity for a row that a kill cut short."""
    try:
        return float(json.loads(line)["step"])
    except ValueError:
        return float("inf")


@contextlib.contextmanager
def progress_bar(name: str, wanted: bool) -> Iterator[Show]:
    """Yield a function that shows a run's progress.

    Args:
        name: name of the stage.
        wanted: whether to show anything; only the first process does.

    Raises:
        TrainingError: tqdm is not installed.
    """
    if not wanted or parallel.rank():
        yield lambda progress, step, values: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise TrainingError("a progress bar needs tqdm: pip install tqdm, or train without a bar") from error
    layout = "{l_bar}{bar}|{elapsed}<{remaining}{postfix}"
    with tqdm(total=100, desc=name, bar_format=layout) as bar:

        def show(progress: float, step: int, values: Mapping[str, float]) -> None:
            bar.n = round(100 * progress, 1)
            bar.set_postfix({"step": step} | {key: f"{value:.4g}" for key, value in values.items()})

        yield show
