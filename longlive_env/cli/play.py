"""`longlive play`: play a world in a window, steered by keys, prompts, an agent or a scenario."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from longlive_env.cli.interrupt import hangup_as_end
from longlive_env.cli.parser import AGENT_NAMES, Parser
from longlive_env.cli.recorded import Recorded, refuse
from longlive_env.cli.scenario_options import add_scenario_options, chosen_scenario
from longlive_env.cli.world_device import add_device_option, chosen_device
from longlive_env.cli.world_options import add_world_options, checked_config, load_world
from longlive_env.cli.writable import check_writable, write_new
from longlive_env.errors import ConfigError
from longlive_env.recording import LogHeader
from longlive_env.scenario import Moment, Scenario, lint_in
from longlive_env.terminal import USAGE_ERROR
from longlive_env.viewer import bindings, require_pygame

if TYPE_CHECKING:
    from longlive_env.envs.seat import Agent
    from longlive_env.viewer.options import Options
    from longlive_env.viewer.session import Session
    from longlive_env.viewer.worker import Worker

MB = 10**6
TAKES_THE_SEAT = "random"  # the agent that Tab seats if none was chosen


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and open the window."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.write_keys is not None:
        return _write_keys(args.write_keys)
    if args.history is not None and args.history < 1:
        parser.error(f"--history is {args.history}; give it 1 MB or more")
    if args.serve is not None and (args.fullscreen or args.size is not None):
        parser.error(
            "with --serve the browser says how large the window is; leave --size and --fullscreen out"
        )
    require_pygame()
    choose = partial(chosen_scenario, args, "play", Moment(1, "blocks"))  # the world continues afterwards
    if args.replay is None:
        run = None
        scenario = choose()
        args.device = chosen_device(scenario.world, args.device)
        scenario.plan(checked_config(scenario.world, args.device, args))  # fails before a window opens
    else:
        run = _recorded(args, parser)
        scenario = run.scenario(args.world)
    from longlive_env.agents.registry import make_agent
    from longlive_env.viewer.app import App
    from longlive_env.viewer.options import Options
    from longlive_env.viewer.prompt_file import default_prompts
    from longlive_env.viewer.scaling import UIScale
    from longlive_env.viewer.worker import Worker

    agent = make_agent(args.agent or TAKES_THE_SEAT)  # also before a window opens
    if args.out is not None:  # otherwise who only looks may do so anywhere
        _check_folder(args.out)
    options = Options(
        title=f"longlive · {scenario.name}",
        world=scenario.world,
        scenario=scenario,
        read_again=None if args.scenario is None else choose,
        replays=run is not None,
        bindings=_bindings(args.keys),
        out=args.out or Path("out") / "play",
        size=None if args.size is None else _window_size(parser, args.size),
        ui_scale=UIScale.parse(args.ui_scale),
        crisp=args.crisp,
        fullscreen=args.fullscreen,
        agent_first=args.agent is not None,
        prompts=None if args.private else default_prompts(),
    )
    worker = Worker(lambda: _session(args, scenario, agent, run), _header)
    try:
        with hangup_as_end():
            if args.serve is None:
                with App(worker, options) as app:
                    app.run()
            else:
                _serve(args.serve, worker, options)
    finally:
        # Such as the place of the recording that closing the window has ended.
        for notice in worker.exchange.take_notices():
            with contextlib.suppress(OSError):  # the terminal has gone
                sys.stderr.write(f"{notice.text}\n")
    return USAGE_ERROR if worker.broken else 0  # the worker has reported why


def _serve(address: str, worker: Worker, options: Options) -> None:
    """Play in browsers."""
    from longlive_env.viewer.app import App
    from longlive_env.viewer.serving import Address, Page

    with Page(Address.parse(address)) as page, App(worker, options, mirror=page) as app:
        print(f"open in a browser: {page.url}", *page.advice, sep="\n", flush=True)
        app.run()


def _parser() -> Parser:
    default_keys = str(bindings.default_file()).replace("%", "%%")
    parser = Parser(
        "longlive play",
        "Play a world in a window: prompts and keys steer it, a scenario plays until you take over.\n"
        "F1 lists all keys.",
        (
            "longlive play",
            "longlive play demo",
            'longlive play --prompt "a red robot walks right through the city at night" --seed 7',
            "longlive play --agent random",
            "longlive play --world 1.3b --device cuda --compile graphs --rope relative",
            "longlive play demo --serve 8000",
            "longlive play --replay out/demo",
            "longlive play --write-keys keys.yaml && longlive play --keys keys.yaml",
        ),
    )
    add_scenario_options(parser)
    add_device_option(parser)
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="LOG",
        help="watch a recorded run (its log or its folder), and take over where you like; its world, device "
        "and options count unless you give others",
    )
    parser.add_argument(
        "--agent",
        metavar="NAME",
        help=f"who steers at first: {AGENT_NAMES} (default: you; Tab hands over to random)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for what you save (out/play)",
    )
    parser.add_argument("--keys", type=Path, metavar="FILE", help=f"key file (default: {default_keys})")
    parser.add_argument(
        "--write-keys", type=Path, metavar="FILE", help="write a key file with all defaults, and exit"
    )
    parser.add_argument("--private", action="store_true", help="neither read nor keep typed prompts")
    parser.add_argument(
        "--size", metavar="WxH", help="size of the window (1280x720, larger on dense screens)"
    )
    parser.add_argument(
        "--ui-scale",
        default="auto",
        metavar="SCALE",
        help="size of texts and panels: 1, 1.5, 2, ... or auto, which follows screen and window (auto)",
    )
    parser.add_argument(
        "--serve",
        metavar="[HOST:]PORT",
        help="play in a browser, also where there is no display (default host: 127.0.0.1, this machine only)",
    )
    parser.add_argument("--crisp", action="store_true", help="start with crisp pixels")
    parser.add_argument("--fullscreen", action="store_true", help="start in full screen")
    parser.add_argument(
        "--history",
        type=int,
        metavar="MB",
        help="memory for rewinding; bookmarks and undo are not counted (256, or four snapshots if larger)",
    )
    add_world_options(parser)
    return parser


def _recorded(args: argparse.Namespace, parser: Parser) -> Recorded:
    """Return the run to replay; errors in it are reported before a window opens."""
    refuse(args, parser, "prompt", "seed", "frames", "agent")
    if args.scenario is not None:
        parser.error("give one of a scenario and --replay LOG")
    run = Recorded.read(args.replay)
    run.take_over(args)
    run.plan(checked_config(args.world, args.device, args))
    return run


def _session(args: argparse.Namespace, scenario: Scenario, agent: Agent, run: Recorded | None) -> Session:
    """Create the session of a scenario, or of a recorded run."""
    from longlive_env.viewer.running import STATES
    from longlive_env.viewer.session import Session

    if run is not None:
        import torch

        threads = min(run.log.header.threads, os.cpu_count() or 1)  # more would be slower during live play
        torch.set_num_threads(threads)  # for this thread, which plays
    looked_at = args.agent is not None  # a state for an agent that thinks while the world plays on
    world = load_world(scenario.world, args.device, args, states=STATES + looked_at)
    plan = scenario.plan(world.config) if run is None else run.plan(world.config)
    for warning in lint_in(world, scenario):
        sys.stderr.write(f"warning: {warning}\n")
    budget_bytes = None if args.history is None else args.history * MB
    session = Session(world, plan, agent, budget_bytes=budget_bytes)
    if run is not None:
        run.warn(_header(session))
    return session


def _header(session: Session) -> LogHeader:
    """Return the header of a recording; the recorder fills in what changes during play."""
    return LogHeader.of(session.world, name=session.scenario_name, seed=session.seed, recache=session.recache)


def _bindings(path: Path | None) -> bindings.Bindings:
    """Return the bindings of a key file, of the user's own file, or the defaults."""
    if path is None:
        own = bindings.default_file()
        return bindings.Bindings.load(own) if own.is_file() else bindings.Bindings.default()
    return bindings.Bindings.load(path)


def _check_folder(folder: Path) -> None:
    """Check that files can be saved in a folder, which need not exist; nothing is created.

    Raises:
        ConfigError: they cannot.
    """
    first = folder.absolute() / "scenario.yaml"  # what would be created first
    while first != first.parent and not os.path.lexists(first.parent):  # a drive may be absent
        first = first.parent
    if not first.parent.is_dir():
        raise ConfigError(f"--out is {folder}, and {first.parent} is no folder; choose another place")
    check_writable(first)


def _write_keys(path: Path) -> int:
    write_new(path, bindings.template())
    print(f"wrote {path}; put it at {bindings.default_file()} or pass --keys {path}")
    return 0


def _window_size(parser: Parser, text: str) -> tuple[int, int]:
    from longlive_env.viewer.scaling import SMALLEST_WINDOW

    width, _, height = text.lower().partition("x")
    least, lowest = SMALLEST_WINDOW
    if not (width.isdecimal() and height.isdecimal()) or int(width) < least or int(height) < lowest:
        parser.error(
            f"--size is {text!r}; expected width x height of at least {least}x{lowest}, such as 1280x720"
        )
    return int(width), int(height)
