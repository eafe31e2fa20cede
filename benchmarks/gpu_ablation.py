"""The ablation of the tiny world on a CUDA GPU: the item `ablation` of `gpu_agenda.py`.

Needs torch, numpy, safetensors and Pillow. Repeat the command until it reports that no blocks are left; each
time it resumes where it stopped:

    PYTHONPATH=. python benchmarks/gpu_agenda.py ablation --out OUT --work WORK --minutes 9

After `train --stages causal base distill stream` with the same WORK, the trained world is compared with
itself before streaming; otherwise only the shipped world is studied. Measurements are in WORK/ablation and,
for transfer, in one file, OUT/ablation.tar, from which a lost WORK/ablation is restored. The page can be
written from the rows on any machine without measuring anything, as long as the worlds of these rows are
present:

    mkdir -p out/ablation && tar -xf OUT/ablation.tar -C out/ablation
    longlive eval --ablation --seconds 240 --dtype bfloat16 --out out/ablation --docs docs

Rows of trained worlds also need `--world WORK/stream_world --other "without streaming=WORK/distill_world"`.
"""

from __future__ import annotations

import contextlib
import tarfile
import time
from pathlib import Path
from typing import Any

from longlive_env.ablation import Study, StudyConfig, with_worlds
from longlive_env.ablation.page import SWITCHES_SHOWN, TAKES_SHOWN
from longlive_env.engine.whole_files import in_one_step
from longlive_env.evaluate import EvalConfig

MARGIN_S = 30.0  # of a command: to start, to pack, and to transfer files
WHOLE = (EvalConfig(64, batch=64), 240.0, 64)  # takes with a switch; seconds and number of long ones
SMALL = (EvalConfig(1, blocks=6, batch=1), 20.0, 1)


class OutOfTime(Exception):
    """Time is up; the current batch is dropped, and earlier ones are on disk."""


def ablation(out: Path, work: Path, device: str, minutes: float, world: str, small: bool) -> dict[str, Any]:
    """Continue the ablation for some minutes.

    Args:
        out: folder that gets `ablation.tar`.
        work: folder of rows and pictures, which may hold the worlds that `gpu_train` made.
        device: torch device.
        minutes: time limit of this call.
        world: world to study if `gpu_train` has made none.
        small: whether to do only one rollout of each kind.

    Returns:
        The worlds, the number of rollouts of each way of running them, and the number of blocks left.
    """
    deadline = time.monotonic() + 60 * minutes - (0 if small else MARGIN_S)
    folder, packed = work / "ablation", out / "ablation.tar"
    if packed.is_file() and not folder.exists():
        with tarfile.open(packed) as archive:
            archive.extractall(folder, filter="data")
    before, after = work / "distill_world", work / "stream_world"
    trained = before.is_dir() and after.is_dir()
    others = {"without streaming": str(before)} if trained else {}
    config, seconds, takes = SMALL if small else WHOLE
    chosen = str(after) if trained else world
    study = Study(
        folder, StudyConfig(chosen, config, seconds, takes, device), with_worlds(Path(chosen).name, others)
    )

    def check_time() -> None:
        if time.monotonic() > deadline:
            raise OutOfTime

    with contextlib.suppress(OutOfTime):
        study.run(on_block=check_time)
    _pack(folder, packed)
    return {
        "world": chosen,
        "others": others,
        "rollouts": {f"{job.part}, {job.variant.name}": len(job.measured.rows) for job in study.jobs},
        "blocks_left": study.blocks_left(),
    }


def _pack(folder: Path, packed: Path) -> None:
    """Pack the rows of all rollouts, and the pictures that the page shows, into one file."""
    shown = [*folder.glob("*.json")]
    for part, numbers in (("switch", SWITCHES_SHOWN), ("long", TAKES_SHOWN)):
        shown += [path for number in numbers for path in folder.glob(f"{part}-*/{number}.png")]
    with in_one_step(packed) as aside, tarfile.open(aside, "w") as archive:
        for path in sorted(shown):
            archive.add(path, path.relative_to(folder))
