"""`longlive scenarios`: list the shipped scenarios, show and check scenarios, start a new one."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from longlive_env.cli.parser import Parser, as_seed
from longlive_env.cli.writable import write_new
from longlive_env.engine.completion import COMPLETION_FILE
from longlive_env.engine.config import PRESETS, SHIPPED, WorldConfig
from longlive_env.errors import LongLiveError, PromptError, ScenarioError, did_you_mean
from longlive_env.scenario import Cue, Scenario, lint, load_scenario, scenario_text, shipped_scenarios
from longlive_env.scenario.comments import cut_off
from longlive_env.scenario.files import shipped_names
from longlive_env.scenario.outline import outline
from longlive_env.scenario.readable import check_prompts
from longlive_env.scenario.template import template
from longlive_env.scenario.timeline import every_entry
from longlive_env.terminal import as_command
from longlive_env.viewer.bindings import Bindings
from longlive_env.viewer.steering import kept_keys

FAILED = 1
ACTIONS = ("list", "show", "check", "new")
SUFFIXES = (".yaml", ".yml")
NOT_IN_NAMES = re.compile(r"[^\w-]+")


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and do what they ask for."""
    args = _parser().parse_intermixed_args(argv)
    if args.action not in ACTIONS:
        remedy = did_you_mean(args.action, ACTIONS, f"expected one of {', '.join(ACTIONS)}")
        _parser().error(f"there is nothing called {args.action!r} to do; {remedy}")
    if args.strict and args.action != "check":
        _parser().error("--strict goes with check")
    if args.like is not None and args.action != "new":
        _parser().error("--like goes with new")
    if args.seed is not None and args.action != "show":
        _parser().error("--seed goes with show")
    if args.action == "show":
        return _show(args.names, args.seed)
    if args.action == "check":
        return _check(args.names, strict=args.strict)
    if args.action == "new":
        return _new(args.names, args.like)
    if args.names:
        _parser().error(f"list takes no names; got {' '.join(args.names)}")
    return _list()


def _parser() -> Parser:
    parser = Parser(
        "longlive scenarios",
        "List the scenarios that come with the package, show or check scenarios, or start one of your own.\n"
        "show prints the timeline and its prompts without playing.\n"
        "check validates files, folders or names, by default all bundled scenarios; exits with 1 if any is "
        "wrong.\nReading a file stops at its first error.",
        (
            "longlive scenarios",
            "longlive scenarios show lost-robot --seed 12",
            "longlive scenarios new my-story",
            "longlive scenarios new my-drive --like drive",
            "longlive scenarios check my-story.yaml",
        ),
    )
    parser.add_argument("action", nargs="?", default="list", help="list, show, check or new (list)")
    parser.add_argument("names", nargs="*", help="what to show or check, or the name of the new scenario")
    parser.add_argument("--strict", action="store_true", help="with check: treat warnings as errors")
    parser.add_argument(
        "--seed", type=as_seed, help="with show: draw choices with this seed instead of the scenario's"
    )
    parser.add_argument("--like", metavar="NAME", help="with new: start from a copy of a bundled scenario")
    return parser


def _list() -> int:
    scenarios = sorted(shipped_scenarios().values(), key=lambda one: (one.pack != "first-steps", one.pack))
    width = max(len(scenario.name) for scenario in scenarios)
    for pack, members in groupby(scenarios, key=lambda scenario: scenario.pack):
        print(pack)
        for scenario in members:
            what = f"{scenario.world}, {scenario.duration.length}, {_contents(scenario)}"
            print(f"  {scenario.name:<{width}}  {what:<32}  {scenario.description}")
    return 0


def _contents(scenario: Scenario) -> str:
    prompts = _counted(1 + sum(isinstance(entry, Cue) for entry in every_entry(scenario.timeline)), "prompt")
    return f"{prompts}, {_counted(len(scenario.goals), 'goal')}" if scenario.goals else prompts


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _check(names: Sequence[str], *, strict: bool) -> int:
    scenarios = errors = warnings = 0
    for name in _sources(names):
        scenarios += 1
        try:
            told = _checked(name)
        except LongLiveError as error:
            errors += 1
            placed = isinstance(error, ScenarioError | PromptError)
            print(f"error: {error}" if placed else f"error: {name}: {error}")
            continue
        warnings += len(told)
        for warning in told:
            print(f"warning: {warning}")
    counts = ((scenarios, "scenario"), (errors, "error"), (warnings, "warning"))
    print(", ".join(_counted(number, what) for number, what in counts))
    return FAILED if errors or (strict and warnings) else 0


def _sources(names: Sequence[str]) -> Iterator[str]:
    """Yield names and files: those given, with folders expanded, or all shipped ones."""
    if not names:
        yield from shipped_names()
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield name
            continue
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        if not files:
            raise ScenarioError(f"{path} holds no scenarios; they end in .yaml")
        yield from map(str, files)


def _checked(name: str) -> list[str]:
    """Return warnings about a scenario.

    Raises:
        ScenarioError: it is invalid; the message names the file.
        PromptError: its world cannot read a prompt; the message names the file.
        ConfigError: the folder of its world holds no valid configuration.
        WeightsError: its world's tokenizer cannot be read.
    """
    scenario = load_scenario(name)
    config = _config(scenario)
    check_prompts(scenario, config)
    completes = scenario.world in SHIPPED or (Path(scenario.world) / COMPLETION_FILE).is_file()
    return [
        *_misnamed(scenario),
        *_taken(scenario, name),
        *cut_off(scenario_text(name), scenario.file),
        *lint(scenario, config, completes=completes),
        *_kept(scenario),
    ]


def _misnamed(scenario: Scenario) -> Iterator[str]:
    """Return a warning if a scenario is not called like its file, as a copy whose name was forgotten."""
    stem = Path(scenario.file).stem
    name = NOT_IN_NAMES.sub("-", stem).strip("-")  # a file may be called what a scenario cannot
    if name and name.lower() != scenario.name.lower():
        yield (
            f"{scenario.place_of('name')}: the file is called {stem!r}, but a run goes to "
            f"out/{scenario.name} and replaces what is there; write name: {name}"
        )


def _taken(scenario: Scenario, source: str) -> Iterator[str]:
    """Return a warning if a bundled scenario has the name of another scenario."""
    name = scenario.name
    if name in shipped_names() and scenario_text(source) != scenario_text(name):
        yield (
            f"{scenario.place_of('name')}: a bundled scenario is called {name!r}, too, and both are recorded "
            f"into out/{name}; write name: my-{name}"
        )


def _kept(scenario: Scenario) -> Iterator[str]:
    """Return warnings about keys that the viewer reserves, unless a key file rebinds them."""
    for key, warning in kept_keys(scenario.keys, Bindings.default()).items():
        yield f"{scenario.place(scenario.keys[key].line)}: {warning}"


def _config(scenario: Scenario) -> WorldConfig:
    """Return the configuration of the world that a scenario names.

    Raises:
        ScenarioError: there is no world of that name.
        ConfigError: its folder holds no valid configuration.
        WeightsError: its folder holds no world.
    """
    if scenario.world in PRESETS:
        return PRESETS[scenario.world]
    folder = Path(scenario.world)
    if not folder.is_dir():
        remedy = did_you_mean(scenario.world, PRESETS, f"worlds: {', '.join(PRESETS)}, or a folder")
        raise ScenarioError(f"{scenario.place_of('world')}: there is no world {scenario.world!r}; {remedy}")
    from longlive_env.engine.world_files import read_config  # imports torch

    return read_config(folder)


def _show(names: Sequence[str], seed: int | None) -> int:
    if len(names) != 1:
        _parser().error("show takes one file or name, such as: longlive scenarios show lost-robot")
    scenario = load_scenario(names[0])
    if seed is not None:
        scenario = dataclasses.replace(scenario, seed=seed)
    for line in outline(scenario, scenario.plan(_config(scenario))):
        print(line)
    return 0


def _new(names: Sequence[str], like: str | None) -> int:
    if len(names) != 1:
        _parser().error("new takes one name, such as: longlive scenarios new my-story")
    path = Path(names[0])
    if not path.name:
        _parser().error(f"{names[0]!r} names no file; give a name such as my-story")
    path = path if path.suffix.lower() in SUFFIXES else path.with_name(f"{path.name}.yaml")
    if path.stem in shipped_names():
        _parser().error(f"{path.stem!r} is a bundled scenario; choose another name, such as my-{path.stem}")
    text = template(path.stem)
    if like is not None:
        text = re.sub(r"^name: .*$", f"name: {path.stem}", scenario_text(like), count=1, flags=re.MULTILINE)
    write_new(path, text)
    sys.stdout.write(f"{path}\nplay it: {as_command(['longlive', 'run', str(path)])}\n")
    return 0
