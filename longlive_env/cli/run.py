"""`longlive run`: play a scenario, a prompt list or a recorded run, and record it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from longlive_env.cli import INTERRUPTED
from longlive_env.cli.interrupt import StopAtBlock
from longlive_env.cli.parser import AGENT_NAMES, Parser, as_prompt, as_seed
from longlive_env.cli.recorded import Recorded, refuse
from longlive_env.cli.scenario_options import add_frames_option, chosen_scenario, with_arguments
from longlive_env.cli.world_device import chosen_device
from longlive_env.cli.world_options import add_world_options, load_world
from longlive_env.envs.window import enlargement
from longlive_env.errors import ScenarioError
from longlive_env.recording import LogBlock, LogHeader, Recording
from longlive_env.scenario import (
    Block,
    Moment,
    Plan,
    Scenario,
    Steer,
    lint,
    load_prompt_lists,
    play,
)

if TYPE_CHECKING:
    from longlive_env.engine.world import World
    from longlive_env.envs.seat import Agent

DIFFERS = 1  # status of a replay whose frames differ
ALONE_S = 20  # seconds of a single prompt without a scenario
BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} frames{postfix}, {remaining} left"


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and play what they ask for."""
    args = _parser().parse_args(argv)
    sources = [source for source in (args.scenario, args.prompts, args.replay) if source is not None]
    if len(sources) > 1 or not (sources or args.prompt or args.agent):
        _parser().error("give one of: a scenario, --prompt TEXT, --prompts FILE, --agent NAME, --replay LOG")
    if args.prompt is not None and (args.prompts or args.replay):
        _parser().error("--prompt goes with a scenario, or alone")
    if args.replay is not None:
        return _replay(args)
    agent = None
    if args.agent is not None:
        from longlive_env.agents import make_agent  # torch loads here

        agent = make_agent(args.agent)  # reports errors before a world is loaded
    status = 0
    scenarios = _scenarios(args)
    args.device = chosen_device(scenarios[0].world, args.device)
    world = _world(scenarios[0].world, args.device, args)  # shared by all scenarios
    for scenario in scenarios:
        out = args.out or Path("out") / scenario.name
        part = out / scenario.name if args.out and len(scenarios) > 1 else out
        status = _run(scenario, world, agent, args, part)
        if status:
            break
    return status


def _parser() -> Parser:
    parser = Parser(
        "longlive run",
        "Play a scenario and record it: video.mp4 with every frame, its subtitles video.srt, actions.jsonl "
        "to replay it\nfrom, and the contact sheet sheet.png. Ctrl-C ends a run early and leaves all four "
        "complete up to that block.",
        (
            "longlive run demo --out out/demo",
            "longlive run my-story.yaml --seed 7",
            'longlive run --prompt "a red robot dances on the moon at night" --duration 10s',
            'longlive run --prompt "a red robot dances in the snow" --frames picture.png',
            'longlive run demo --agent "goal:a blue robot on the moon at night" --duration 20s',
            "longlive run --prompts interactive_example.jsonl --switch-every 10s --world 1.3b --device cuda",
            "longlive run --replay out/demo",
        ),
    )
    parser.add_argument(
        "scenario", nargs="?", help="name of a scenario (see longlive scenarios) or a .yaml file"
    )
    parser.add_argument(
        "--prompt",
        type=as_prompt,
        metavar="TEXT",
        help="starting prompt instead of the scenario's; without a scenario it plays for 20 s",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help='play the prompts of a file: a line is {"prompts": [...]} (JSONL) or one prompt (.txt)',
    )
    parser.add_argument(
        "--switch-every", metavar="TIME", help="how long each prompt of --prompts plays (10s)"
    )
    parser.add_argument("--line", type=int, metavar="N", help="play one line of --prompts, counted from 1")
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="LOG",
        help="repeat a recorded run (its log or its folder) and compare the frames",
    )
    parser.add_argument(
        "--agent",
        metavar="NAME",
        help=f"who steers: {AGENT_NAMES}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the files go, replacing those of an earlier run (out/NAME; with --replay, FOLDER-replay "
        "beside the recorded run's FOLDER)",
    )
    parser.add_argument("--world", help="name of a world or folder of weights instead of the scenario's")
    parser.add_argument(
        "--device",
        help="where the world runs, such as cpu or cuda (default: as in the log, else cpu; for the 1.3B "
        "world a GPU, if there is one)",
    )
    add_world_options(parser)
    parser.add_argument("--seed", type=as_seed, help="seed of the world instead of the scenario's")
    add_frames_option(parser)
    parser.add_argument("--duration", metavar="TIME", help="how long to play, such as 30s or '8 blocks'")
    parser.add_argument(
        "--scale",
        type=int,
        metavar="N",
        help="enlarge the video N times (default: small worlds get about 384 rows)",
    )
    return parser


def _scenarios(args: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios, changed by the arguments; prompts past a shorter duration are left out."""
    if args.prompts is None:
        for option in ("switch_every", "line"):
            if getattr(args, option) is not None:
                _parser().error(f"--{option.replace('_', '-')} goes with --prompts FILE")
        return [_shortened(chosen_scenario(args, "run", Moment(ALONE_S, "seconds")), args)]
    scenarios = load_prompt_lists(args.prompts, _moment(args.switch_every or "10s", "--switch-every"))
    scenarios = [_shortened(with_arguments(one, args, "world", "seed", "frames"), args) for one in scenarios]
    chosen = [scenario for scenario in scenarios if args.line in (None, scenario.line)]
    if not chosen:
        lines = ", ".join(str(scenario.line) for scenario in scenarios)
        _parser().error(f"--line {args.line} holds no prompts in {args.prompts}; lines with prompts: {lines}")
    return chosen


def _shortened(scenario: Scenario, args: argparse.Namespace) -> Scenario:
    if args.duration is None:
        return scenario
    return replace(scenario, duration=_moment(args.duration, "--duration"))


def _moment(text: str, option: str) -> Moment:
    try:
        length = Moment.parse(text)
    except ValueError as error:
        raise ScenarioError(f"{option}: {error}") from error
    if not length.amount:
        raise ScenarioError(f"{option}: {text!r} is no time at all; play at least one block")
    return length


def _run(scenario: Scenario, world: World, agent: Agent | None, args: argparse.Namespace, out: Path) -> int:
    plan = scenario.plan(world.config, cut=args.duration is not None)
    whole = args.duration is None  # who plays only a part needs no warning
    for warning in lint(
        scenario, world.config.name, world.unknown_words, config=world.config if whole else None
    ):
        sys.stderr.write(f"warning: {warning}\n")
    header = LogHeader.of(world, name=scenario.name, seed=plan.seed, recache=plan.recache)
    steer = None
    if agent is not None:
        from longlive_env.agents import Seated

        steer = Seated(agent, world, plan.seed, plan.recache)
    return _record(world, plan, header, out, args.scale, steer=steer)


def _replay(args: argparse.Namespace) -> int:
    """Replay a run; status 1 if frames differ from the recorded ones."""
    refuse(args, _parser(), "seed", "frames", "duration", "switch_every", "line", "agent")
    run = Recorded.read(args.replay)
    out = args.out or run.folder.with_name(f"{run.folder.name}-replay")
    if out.resolve() == run.folder:
        _parser().error("--out is the folder of the recorded run; choose another")
    run.take_over(args)
    world = _world(args.world, args.device, args, threads=run.log.header.threads)
    plan = run.plan(world.config)
    header = LogHeader.of(world, name=run.log.header.name, seed=plan.seed, recache=plan.recache)
    run.warn(header)
    return _record(world, plan, header, out, args.scale, expected=[block.digest for block in run.log.blocks])


def _world(name: str, device: str, args: argparse.Namespace, threads: int | None = None) -> World:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return load_world(name, device, args)


@dataclass
class _Tally:
    """What is counted while a plan plays.

    Attributes:
        expected: digests of the recorded blocks, in a replay.
        begin: `time.perf_counter` when playing began.
        frames: number of frames so far.
        points: points of the goals reached so far.
        different: indices of blocks whose frames differ from the recorded ones.
    """

    expected: Sequence[str] | None
    begin: float = field(default_factory=time.perf_counter)
    frames: int = 0
    points: int = 0
    different: list[int] = field(default_factory=list)

    def add(self, block: Block, logged: LogBlock) -> None:
        """Count a block."""
        self.frames += logged.frames
        self.points += sum(goal.points for goal in block.reached)
        if self.expected is not None and logged.digest != self.expected[block.index]:
            self.different.append(block.index)

    @property
    def elapsed(self) -> float:
        """Seconds since playing began."""
        return time.perf_counter() - self.begin


def _record(
    world: World,
    plan: Plan,
    header: LogHeader,
    out: Path,
    scale: int | None,
    expected: Sequence[str] | None = None,
    steer: Steer | None = None,
) -> int:
    """Play `plan` into the folder `out`; returns the exit status."""
    blocks, tally = play(world, plan, steer=steer), _Tally(expected)
    scale = enlargement(header.height) if scale is None else scale
    with (
        StopAtBlock() as stop,
        Recording(out, header, scale=scale, start=plan.start) as recording,
        tqdm(total=plan.frames, desc=header.name, bar_format=BAR, postfix="- FPS", disable=None) as bar,
    ):
        for block in blocks:
            mix = None if block.mix.is_pure else dict(block.mix.weights)
            logged = recording.add(
                block.frames, block.prompt, mix=mix, notes=block.notes, remarks=block.remarks
            )
            tally.add(block, logged)
            begins = plan.pace.first_frame(block.index) / plan.pace.fps
            for remark in block.remarks:
                bar.write(f"{begins:6.1f} s  {remark}", file=sys.stderr)
            for goal in block.reached:
                bar.write(f"{logged.seconds:6.1f} s  {goal.name} ({goal.points:+d})", file=sys.stderr)
            bar.set_postfix_str(f"{tally.frames / tally.elapsed:.1f} FPS", refresh=False)
            bar.update(logged.frames)
            if stop.requested:
                break
        recording.complete = tally.frames == plan.frames
    elapsed = tally.elapsed
    print(
        f"{header.name}: {tally.frames} frames ({recording.seconds:.1f} s of video) in {elapsed:.1f} s, "
        f"{tally.frames / elapsed:.1f} FPS with encoding -> {out}"
    )
    if plan.goals:
        print(f"score: {tally.points} of {sum(max(goal.points, 0) for goal in plan.goals)}")
    return _status(tally, plan, recording.complete)


def _status(tally: _Tally, plan: Plan, complete: bool) -> int:
    """Say how a run ended; returns its exit status."""
    if tally.different:
        sys.stderr.write(
            f"longlive run: {len(tally.different)} blocks differ from the recorded run, the first is block "
            f"{tally.different[0]}; weights, software, device or options are not the same\n"
        )
        return DIFFERS
    if not complete:
        return INTERRUPTED
    if tally.expected is not None:
        print(f"all {plan.blocks} blocks are identical to the recorded run")
    return 0
