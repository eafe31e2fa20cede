"""Training of the tiny world on a CUDA GPU: the item `train` of `gpu_agenda.py`.

Needs only torch, numpy and safetensors. Repeat the command until it reports that nothing is left; each time
it resumes where it stopped, and it stops by itself in time:

    PYTHONPATH=. python benchmarks/gpu_agenda.py train --out OUT --work WORK --minutes 9

By default the newest world goes on with the last stages of its recipe, `follow` and `decoder`, for twenty
minutes. `--stages causal base distill stream follow decoder` repeats the whole recipe in 44. The first stage
starts from the shipped world or from `--start`, every other one from the newest world before it; a base is no
world. Before the decoder's first step the world plays takes, which no limit cuts short: run it with a few
minutes left.

WORK has to persist between the commands; it holds encoded takes, checkpoints, and a world for each stage. OUT
gets `results.json` and the newest world in files of less than 16 MiB. `--small --device cpu` tries everything
in a few steps. If WORK is lost, the next command begins anew: give a returned world as `--start`.

Takes and first blocks are rendered and encoded by all cores but one before their stage (for the base, during
the one before), since a GPU is no faster at many small pictures. `causal` comes before `base`, because the
base has to read prompts with the text encoder of the world that distillation starts from.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from longlive_env.training import TrainConfig, make_stage
from longlive_env.training import train as train_stage
from longlive_env.training.codec_stage import frozen_codec
from longlive_env.training.export import export_decoder, export_distilled, export_world
from longlive_env.training.latents import BankPlan, write_shard
from longlive_env.training.rendered_stage import RenderedOptions
from longlive_env.training.stages import ROLLED_OUT, stage_class
from longlive_env.training.world_model_stage import WorldModelOptions

MARGIN_S = 40.0  # of a command: to start, to export, and to transfer files
LEAST_S = 15.0  # a stage is not started with less time


@dataclass(frozen=True)
class Step:
    """One stage of the recipe.

    Attributes:
        stage: name of the stage.
        minutes: how long it trains.
        rate: peak learning rate.
        options: options of the stage; `FOLDER` stands for the working folder, `START` for the world that the
            stage starts from.
        small: reduced options for a try-out.
        first_s: least time to start it with, as some prepare much before their first step.
    """

    stage: str
    minutes: float
    rate: float
    options: dict[str, Any]
    small: dict[str, Any]
    first_s: float = LEAST_S


FOLDER, START = "FOLDER", "START"
NEWEST = "tiny"
FEW = {"takes": 2, "held_out": 2, "takes_a_file": 2}
SCORES = {"clips": 32, "guidance": 1.5}  # this teacher exaggerates outlines with the published guidance of 3
FEW_SCENES = {"scenes": 2, "held_out": 2, "scenes_a_file": 2}
WALKS = {"switch_share": 0.8, "setting_share": 0.8, "walking_share": 0.7, "night_share": 0.4}
STEPS = (
    Step(
        "causal",
        8.0,
        2e-3,
        {
            "start": START,
            "codec": START,
            "bank": f"{FOLDER}/bank",
            "takes": 1500,
            "switch_takes": 3000,
            "openings": 32,
            "beginnings": 16,
            "later": 32,
            "switches": 32,
            "restored_share": 0.75,
            "restored_passes": 4,
        },
        {**FEW, "switch_takes": 2, "openings": 2, "beginnings": 2, "later": 2, "switches": 2},
    ),
    Step(
        "base",
        7.0,
        2e-3,
        {"start": START, "codec": START, "bank": f"{FOLDER}/bank", "clips": 64},
        {**FEW, "clips": 2},
    ),
    Step(
        "distill",
        4.5,
        1e-4,
        {"start": START, "teacher": f"{FOLDER}/base/weights.safetensors", **SCORES},
        {"clips": 1, "blocks": 2, "critic_updates": 1},
    ),
    Step(
        "stream",
        4.5,
        1e-4,
        {"start": START, "teacher": f"{FOLDER}/base/weights.safetensors", **SCORES},
        {"clips": 1, "blocks": 2, "length": 4, "critic_updates": 1},
    ),
    Step(
        "follow",
        12.0,
        7e-4,
        {
            "start": START,
            "bank": f"{FOLDER}/bank",
            "clips": 16,
            "blocks": 4,
            "length": 37,
            "openings": 64,
            "sampler_steps": 2,
            "trust": 0.45,
            "setting_weight": 4.0,
            **WALKS,
        },
        {**FEW_SCENES, "clips": 1, "openings": 1, "blocks": 2, "length": 4},
    ),
    Step(
        "decoder",
        8.0,
        9e-4,
        {
            "start": START,
            "bank": f"{FOLDER}/bank",
            "plays": 16,
            "clips": 12,
            "rendered_share": 0.75,
            "close_share": 0.7,
            "edge": 4.0,
            "trust": 0.45,
            "lively_share": 0.4,
            **WALKS,
            "walking_share": 0.4,
        },
        {**FEW_SCENES, "plays": 1, "takes": 1, "clips": 2, "length": 4, "drawn": 2, "close_blocks": 2},
        first_s=240.0,  # the world plays
    ),
)
ONWARD = ("follow", "decoder")  # what makes the newest world better; earlier stages would undo these


def train(
    out: Path,
    work: Path,
    device: str,
    minutes: float,
    small: bool = False,
    stages: Sequence[str] = ONWARD,
    start: str = NEWEST,
) -> dict[str, Any]:
    """Continue the recipe for some minutes.

    Args:
        out: folder that gets the newest world.
        work: folder that keeps what the next call needs.
        device: torch device.
        minutes: time limit of this call.
        small: whether to use few takes, clips and steps.
        stages: names of the stages to train, the same in each call; they run in the recipe's order.
        start: name or folder of the world that the first of them starts from.

    Returns:
        What is done (each stage's last row of the log), and what is left.
    """
    deadline = time.monotonic() + 60 * minutes - (0 if small else MARGIN_S)
    steps = _steps(work, stages, start)
    with _BankWorkers(work / "bank", steps, small) as workers:
        for step in steps:
            if _is_done(work, step):
                continue
            workers.wait(step.stage, deadline)
            left_s = deadline - time.monotonic()
            begun = small or (work / step.stage).exists()
            if left_s < (LEAST_S if begun else step.first_s) or not workers.has(step.stage):
                break
            _train(work, step, device, left_s, small)
            _export(work, step, out)
            if not _is_done(work, step):
                break
    return _report(work, steps)


def _steps(work: Path, stages: Sequence[str], start: str) -> list[Step]:
    """Return the chosen steps of the recipe, each with the world that it starts from."""
    steps = []
    for step in STEPS:
        if step.stage in stages:
            filled = {
                name: start if value == START else str(value).replace(FOLDER, str(work))
                for name, value in step.options.items()
                if isinstance(value, str)
            }
            steps.append(replace(step, options={**step.options, **filled}))
            if step.stage != "base":  # which is no world
                start = str(_world(work, step))
    return steps


def _train(work: Path, step: Step, device: str, left_s: float, small: bool) -> None:
    begin = time.monotonic()
    stage = make_stage(step.stage, **step.options | (step.small if small else {}))
    stage.optimisation = replace(stage.optimisation, lr=step.rate)
    limit: dict[str, Any] = {"steps": 2} if small else {"minutes": step.minutes}
    config = TrainConfig(
        out=work / step.stage,
        session_minutes=max(left_s - (time.monotonic() - begin), 1e-3) / 60,  # the decoder's first plays
        device=device,
        autocast="bf16",
        checkpoint_s=45.0,
        evaluate_s=1e9,
        **limit,
    )
    train_stage(stage, config)
    rows = _rows(work, step)
    done = bool(rows) and (rows[-1]["step"] >= 2 if small else "lr" not in rows[-1])  # evaluated at the end
    if done:
        (work / step.stage / "done").touch()


def _is_done(work: Path, step: Step) -> bool:
    return (work / step.stage / "done").exists()


def _world(work: Path, step: Step) -> Path:
    """Return the folder of the world that a step makes."""
    return work / f"{step.stage}_world"


def _export(work: Path, step: Step, out: Path) -> None:
    """Export a stage's current world, for the next stage and for transfer; a base alone makes none."""
    weights = work / step.stage / "weights.safetensors"
    for folder in (_world(work, step), out / "world"):
        if step.stage == "causal":
            export_world(weights, step.options["codec"], folder)
        elif step.stage in ROLLED_OUT:
            export_distilled(weights, folder)
        elif step.stage == "decoder":
            export_decoder(weights, folder)


def _rows(work: Path, step: Step) -> list[dict[str, Any]]:
    log = work / step.stage / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def _report(work: Path, steps: Sequence[Step]) -> dict[str, Any]:
    last = {step.stage: rows[-1] for step in steps if (rows := _rows(work, step))}
    return {"last": last, "left": [step.stage for step in steps if not _is_done(work, step)]}


Shard = tuple[BankPlan, str, int]  # (bank, split, number of the file)


class _BankWorkers:
    """Processes that render and encode what the banks lack, starting with the first stage."""

    def __init__(self, folder: Path, steps: Sequence[Step], small: bool) -> None:
        self.folder, self.steps, self.small = folder, steps, small
        self._pool: Any = None
        self._errors: list[BaseException] = []

    def __enter__(self) -> _BankWorkers:
        missing = [
            shard
            for step in self.steps
            for shard in self._shards(step.stage)
            if not self._path(shard).exists()
        ]
        if missing:
            codec = self.steps[0].options["start"]  # no stage changes the meaning of latents
            count = 1 if self.small else max(1, (os.cpu_count() or 2) - 1)
            self._pool = multiprocessing.get_context("spawn").Pool(min(count, len(missing)))
            for shard in missing:
                self._pool.apply_async(_fill, (self.folder, shard, codec), error_callback=self._errors.append)
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.terminate()  # files are written atomically; the next call continues
            self._pool.join()

    def has(self, stage: str) -> bool:
        """Return whether a stage's bank is complete."""
        return all(self._path(shard).exists() for shard in self._shards(stage))

    def wait(self, stage: str, deadline: float) -> None:
        """Wait until a stage's bank is complete, or until the deadline."""
        while not self.has(stage) and time.monotonic() < deadline:
            if self._errors:
                raise self._errors[0]
            time.sleep(0.2)

    def _path(self, shard: Shard) -> Path:
        plan, split, number = shard
        return plan.file(self.folder, split, number)

    def _shards(self, stage: str) -> list[Shard]:
        """Return the files of a stage's banks, according to its options."""
        step = next(one for one in self.steps if one.stage == stage)
        options = stage_class(stage).options_type(**step.options | (step.small if self.small else {}))
        # Other stages learn from what they generate.
        plans = options.banks() if isinstance(options, (WorldModelOptions, RenderedOptions)) else ()
        return [
            (plan, split, number) for plan in plans for split in plan.takes for number in plan.numbers(split)
        ]


def _fill(folder: Path, shard: Shard, codec: str) -> None:
    """Make one file of a bank with the codec of a world, in a separate process."""
    torch.set_num_threads(1)
    with torch.no_grad():
        write_shard(folder, *shard, _codec(codec), 0)


@functools.cache
def _codec(world: str) -> Any:
    return frozen_codec(world)
