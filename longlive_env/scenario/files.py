"""Scenario files: the ones that come with the package, a user's own, and LongLive's prompt lists."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from longlive_env.engine.config import PRESETS
from longlive_env.errors import ScenarioError, did_you_mean
from longlive_env.recording.log import is_log, log_file
from longlive_env.scenario.change import Change
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.moment import Moment
from longlive_env.scenario.reading import parse_scenario
from longlive_env.scenario.timeline import Cue

SHIPPED = "longlive_env.scenarios"


def shipped_scenarios() -> dict[str, Scenario]:
    """The scenarios that come with the package, by name."""
    return {name: load_scenario(name) for name in shipped_names()}


def load_scenario(name_or_file: str) -> Scenario:
    """A scenario that comes with the package, by name, or the one in a YAML file.

    Frames and a world that is a folder beside that file are found there, wherever the program runs.

    Raises:
        ScenarioError: there is no such scenario, or its file has an error.
    """
    path = Path(name_or_file)
    file = str(path) if _is_file_name(path) else f"{name_or_file}.yaml"
    scenario = parse_scenario(scenario_text(name_or_file), file)
    if not _is_file_name(path):
        return scenario
    beside = path.parent / scenario.world
    if scenario.world not in PRESETS and beside.is_dir():
        scenario = dataclasses.replace(scenario, world=str(beside))
    frames = scenario.frames and str(path.parent / scenario.frames)
    return dataclasses.replace(scenario, frames=frames)


def scenario_text(name_or_file: str) -> str:
    """The YAML of a scenario that comes with the package, or of a file.

    Raises:
        ScenarioError: there is no such scenario.
    """
    path = Path(name_or_file)
    if _is_file_name(path):
        return read_text(path)
    shipped = shipped_names()
    if name_or_file not in shipped:
        raise ScenarioError(f"no scenario is called {name_or_file!r}; {_remedy(path, shipped)}")
    return (resources.files(SHIPPED) / f"{name_or_file}.yaml").read_text(encoding="utf-8")


def shipped_names() -> list[str]:
    """The names of the scenarios that come with the package."""
    files = [entry.name for entry in resources.files(SHIPPED).iterdir()]
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def _remedy(path: Path, shipped: Sequence[str]) -> str:
    """What to write instead of a name that no scenario has."""
    own = path.with_name(f"{path.name}.yaml") if path.name else path
    if own.is_file():
        return f"for the file, write {own}"
    log = log_file(path)
    if log.is_file() and is_log(log):
        return f"for the recorded run, write --replay {path}"
    remedy = did_you_mean(path, shipped, f"there are {', '.join(shipped)}.")
    return f"{remedy} A file of your own ends in .yaml"


def _is_file_name(path: Path) -> bool:
    return path.suffix.lower() in (".yaml", ".yml")


def load_prompt_lists(file: Path, switch_every: Moment) -> list[Scenario]:
    """LongLive's interactive prompt lists: JSON lines of the form `{"prompts": ["first", "second", ...]}`.

    Args:
        file: the JSONL file, or a .txt file in which each line is one prompt, without switches.
        switch_every: how long each prompt plays.

    Returns:
        One scenario for each line.

    Raises:
        ScenarioError: the file is missing or empty, or a line has another form.
    """
    scenarios = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        plain = file.suffix.lower() == ".txt"
        prompts = [" ".join(line.split())] if plain else _prompt_list(line, f"{file}:{number}")
        later = [
            Moment(index * switch_every.amount, switch_every.unit) for index in range(1, len(prompts) + 1)
        ]
        scenarios.append(
            Scenario(
                name=f"{file.stem}-{number}",
                prompt=prompts[0],
                duration=later[-1],
                description=f"line {number} of {file.name}",
                timeline=tuple(
                    Cue(at, Change(prompt, line=number), number)
                    for at, prompt in zip(later, prompts[1:], strict=False)
                ),
                file=str(file),
                line=number,
            )
        )
    if not scenarios:
        plain = file.suffix.lower() == ".txt"
        line = "a red robot walks in the city" if plain else '{"prompts": ["first", "second"]}'
        raise ScenarioError(f"{file} is empty; expected lines such as {line}")
    return scenarios


def _prompt_list(line: str, place: str) -> list[str]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{place}: not valid JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # a number, or lists within lists, beyond all bounds
        raise ScenarioError(f"{place}: not valid JSON: {error}") from error
    prompts = entry.get("prompts") if isinstance(entry, dict) else None
    valid = isinstance(prompts, list) and all(isinstance(text, str) and text.strip() for text in prompts)
    if not prompts or not valid:
        raise ScenarioError(
            f'{place}: expected {{"prompts": ["first", "second", ...]}} with texts that are not empty'
        )
    return [" ".join(text.split()) for text in prompts]


def read_text(path: Path) -> str:
    """The text of a file, with line feeds alone, and without the byte order mark that some editors add.

    Raises:
        ScenarioError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path} is not UTF-8 text; save it as UTF-8") from error
