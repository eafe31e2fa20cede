"""`longlive run`: play a scenario, a prompt list or a recorded run, and record it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from longlive_env.cli.parser import AGENT_NAMES, Parser
from longlive_env.cli.record import record
from longlive_env.cli.recorded import Recorded, refuse
from longlive_env.cli.scenario_options import add_scenario_options, chosen_scenario, with_arguments
from longlive_env.cli.world_device import add_device_option, chosen_device
from longlive_env.cli.world_options import add_world_options, load_world
from longlive_env.errors import AgentError, RecordingError, ScenarioError
from longlive_env.recording import LogHeader
from longlive_env.recording.folder import REPLACED
from longlive_env.scenario import (
    Moment,
    Plan,
    Scenario,
    Steer,
    lint_in,
    load_prompt_lists,
    play,
)

if TYPE_CHECKING:
    from longlive_env.engine.world import World
    from longlive_env.envs.seat import Agent

ALONE_S = 20  # seconds of a single prompt without a scenario


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and play what they ask for."""
    args = _parser().parse_args(argv)
    sources = {"a scenario": args.scenario, "--prompts": args.prompts, "--replay": args.replay}
    given = [name for name, source in sources.items() if source is not None]
    if len(given) > 1:
        _parser().error(f"{' and '.join(given)} exclude each other; give one of them")
    if not (given or args.prompt or args.agent):
        _parser().error(
            "give at least one of: a scenario, --prompt TEXT, --prompts FILE, --agent NAME, --replay LOG"
        )
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
    world = load_world(scenarios[0].world, args.device, args)  # shared by all scenarios
    if len(scenarios) > 1:  # a single one is checked as it begins
        _check(scenarios, world, agent, args)
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
        f"complete up to that block.\nWithout a scenario, one prompt plays for {ALONE_S} s.",
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
    add_scenario_options(parser)
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
        help="repeat a recorded run (its log or its folder) and compare the frames; its world, device and "
        "options count unless you give others",
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
    add_device_option(parser)
    add_world_options(parser)
    parser.add_argument("--duration", metavar="TIME", help="how long to play, such as 30s or '8 blocks'")
    parser.add_argument(
        "--scale",
        type=_scale,
        metavar="N",
        help="enlarge the video N times (default: small worlds get about 384 rows)",
    )
    return parser


def _scale(text: str) -> int:
    """Parse `--scale`; whether it suits a world is known later."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(
            f"the scale is {text!r}; expected a whole number from 1 on, such as 2"
        )
    return int(text)


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


def _check(
    scenarios: Sequence[Scenario], world: World, agent: Agent | None, args: argparse.Namespace
) -> None:
    """Pass if all scenarios can be played; otherwise raise what `play` would raise halfway through them."""
    for scenario in scenarios:
        plan = _plan(scenario, world, args)
        play(world, plan, steer=_steer(agent, world, plan))  # checks the plan, and generates nothing yet


def _plan(scenario: Scenario, world: World, args: argparse.Namespace) -> Plan:
    if args.switch_every is not None:
        length, pace = _moment(args.switch_every, "--switch-every"), scenario.pace(world.config)
        block_s = pace.block_frames / pace.fps
        if length.unit == "seconds" and length.amount < block_s:
            raise ScenarioError(
                f"--switch-every is {args.switch_every}, and prompts change between blocks of {block_s:g} s; "
                "give at least that"
            )
    return scenario.plan(world.config, cut=args.duration is not None)


def _check_out(scenario: Scenario, out: Path) -> None:
    """Pass if the frames to continue from are not among the files that the run replaces."""
    frames = Path(scenario.frames).resolve()
    if scenario.frames and frames.parent == out.resolve() and frames.name in REPLACED:
        raise RecordingError(
            f"the frames to continue from, {scenario.frames}, are in {out}, whose files this run would "
            "replace; choose another folder with --out"
        )


def _steer(agent: Agent | None, world: World, plan: Plan) -> Steer | None:
    if agent is None:
        return None
    from longlive_env.agents import Seated

    return Seated(agent, world, plan.seed)


def _run(scenario: Scenario, world: World, agent: Agent | None, args: argparse.Namespace, out: Path) -> int:
    _check_out(scenario, out)
    plan = _plan(scenario, world, args)
    for warning in lint_in(world, scenario, cut=args.duration is not None):
        sys.stderr.write(f"warning: {warning}\n")
    whole = world.completed(plan.prompt)
    if whole != plan.prompt:
        sys.stderr.write(f"{plan.prompt!r:.80} stands for {whole!r}\n")
    header = _header(world, plan)
    try:
        return record(world, plan, header, out, args.scale, steer=_steer(agent, world, plan))
    except AgentError as error:
        raise AgentError(f"{error}; what was played until then is in {out}") from error.__cause__


def _replay(args: argparse.Namespace) -> int:
    """Replay a run; status 1 if frames differ from the recorded ones."""
    import torch

    refuse(args, _parser(), "seed", "frames", "duration", "switch_every", "line", "agent")
    run = Recorded.read(args.replay)
    out = args.out or run.folder.with_name(f"{run.folder.name}-replay")
    if out.resolve() == run.folder:
        _parser().error("--out is the folder of the recorded run; choose another")
    run.take_over(args)
    torch.set_num_threads(run.log.header.threads)
    world = load_world(args.world, args.device, args)
    plan = run.plan(world.config)
    header = _header(world, plan)
    run.warn(header)
    return record(world, plan, header, out, args.scale, expected=[block.digest for block in run.log.blocks])


def _header(world: World, plan: Plan) -> LogHeader:
    return LogHeader.of(world, name=plan.name, seed=plan.seed, recache=plan.recache, goals=plan.logged_goals)
