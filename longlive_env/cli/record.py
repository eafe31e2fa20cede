"""Playing a plan into a folder, with a progress bar, as `longlive run` does."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from longlive_env.cli import INTERRUPTED
from longlive_env.cli.interrupt import stop_at_block
from longlive_env.envs.window import enlargement
from longlive_env.recording import LogHeader, Recording
from longlive_env.scenario import Plan, Steer, play
from longlive_env.scenario.goals import possible_points

if TYPE_CHECKING:
    from longlive_env.engine.world import World

DIFFERS = 1  # status of a replay whose frames differ
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames{postfix}, {remaining} left"


def record(
    world: World,
    plan: Plan,
    header: LogHeader,
    out: Path,
    scale: int | None,
    expected: Sequence[str] | None = None,
    steer: Steer | None = None,
) -> int:
    """Play `plan` into the folder `out`; returns the exit status."""
    blocks = play(world, plan, steer=steer)
    begin, frames, points = time.perf_counter(), 0, 0
    different: list[int] = []  # blocks whose frames are not the recorded ones
    scale = enlargement(header.height) if scale is None else scale
    with (
        stop_at_block() as stop,
        Recording(out, header, scale=scale, start=plan.start) as recording,
        tqdm(total=plan.frames, desc=header.name, bar_format=BAR, postfix="- FPS", disable=None) as bar,
    ):
        for block in blocks:
            mix = None if block.mix.is_pure else dict(block.mix.weights)
            logged = recording.add(
                block.frames,
                block.prompt,
                mix=mix,
                notes=block.notes,
                remarks=block.remarks,
                reached=block.reached,
            )
            frames += logged.frames
            points += sum(goal.points for goal in block.reached)
            if expected is not None and logged.digest != expected[block.index]:
                different.append(block.index)
            begins = plan.pace.first_frame(block.index) / plan.pace.fps
            told = [f"{begins:6.1f} s  {remark}" for remark in block.remarks]
            told += [f"{logged.seconds:6.1f} s  {goal.name} ({goal.points:+d})" for goal in block.reached]
            with contextlib.suppress(BrokenPipeError):  # the run is recorded, whoever reads along
                for line in told:
                    bar.write(line, file=sys.stderr)
            bar.set_postfix_str(f"{frames / (time.perf_counter() - begin):.1f} FPS", refresh=False)
            bar.update(logged.frames)
            if stop.is_set():
                break
        recording.complete = frames == plan.frames
    elapsed = time.perf_counter() - begin
    print(
        f"{header.name}: {frames} frames ({recording.seconds:.1f} s of video) in {elapsed:.1f} s, "
        f"{frames / elapsed:.1f} FPS with encoding -> {out}"
    )
    if plan.logged_goals:
        print(f"score: {points} of {possible_points(plan.logged_goals)}")
    return _status(different, plan, replays=expected is not None, complete=recording.complete)


def _status(different: Sequence[int], plan: Plan, *, replays: bool, complete: bool) -> int:
    """Say how a run ended; returns its exit status."""
    if different:
        sys.stderr.write(
            f"longlive run: {len(different)} blocks differ from the recorded run, the first is block "
            f"{different[0]}; weights, software, device or options are not the same\n"
        )
        return DIFFERS
    if not complete:
        return INTERRUPTED
    if replays:
        print(f"all {plan.blocks} blocks are identical to the recorded run")
    return 0
