"""Scenario files: the ones that come with the package, a user's own, and LongLive's prompt lists."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import string
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import cast

from longlive_env.errors import ScenarioError
from longlive_env.scenario.change import PARTS, WHOLE, Change
from longlive_env.scenario.model import RECACHE_MODES, Cue, Recache, Scenario
from longlive_env.scenario.moment import Moment
from longlive_env.scenario.schema import Value, advice, parse

REQUIRED = ("name", "prompt", "duration")
OPTIONAL = tuple(
    item.name for item in dataclasses.fields(Scenario) if item.name not in (*REQUIRED, "file", "line")
)
NAME = re.compile(r"[\w-]+")
SHIPPED = "longlive_env.scenarios"
KEYS = ("left", "right", "up", "down", *string.ascii_lowercase, *"123456789")
QUICK_PROMPTS = 9  # as many as there are number keys


def parse_scenario(text: str, file: str) -> Scenario:
    """Read the YAML of one scenario.

    Args:
        text: the YAML.
        file: its name, for messages.

    Raises:
        ScenarioError: something is missing, misspelt or of the wrong kind; the message names file and line.
    """
    table = parse(text, file, "the scenario").table(required=REQUIRED, optional=OPTIONAL)
    texts = {
        key: table[key].text() for key in ("name", "prompt", "description", "world", "notes") if key in table
    }
    if not NAME.fullmatch(texts["name"]):
        table["name"].fail(
            f"name is {texts['name']!r}; use letters, digits, '-' and '_', since it names a folder"
        )
    recache = table["recache"].choice(RECACHE_MODES) if "recache" in table else "full"
    quick = tuple(map(_change, table["quick"].items())) if "quick" in table else ()
    if len(quick) > QUICK_PROMPTS:
        table["quick"].fail(f"quick has {len(quick)} entries; there are {QUICK_PROMPTS} number keys")
    return Scenario(
        duration=_moment(table["duration"]),
        seed=table["seed"].integer() if "seed" in table else 0,
        timeline=tuple(_cue(item) for item in table["timeline"].items()) if "timeline" in table else (),
        recache=cast(Recache, recache),
        keys=MappingProxyType(_keys(table["keys"], len(quick)) if "keys" in table else {}),
        quick=quick,
        file=file,
        line=table["prompt"].line,
        **texts,
    )


def shipped_scenarios() -> dict[str, Scenario]:
    """The scenarios that come with the package, by name."""
    files = sorted(resources.files(SHIPPED).iterdir(), key=lambda entry: entry.name)
    texts = {file.name: file.read_text(encoding="utf-8") for file in files if file.name.endswith(".yaml")}
    scenarios = [parse_scenario(text, name) for name, text in texts.items()]
    return {scenario.name: scenario for scenario in scenarios}


def load_scenario(name_or_file: str) -> Scenario:
    """A scenario that comes with the package, by name, or the one in a YAML file.

    Raises:
        ScenarioError: there is none, or its file has an error.
    """
    path = Path(name_or_file)
    if path.suffix.lower() in (".yaml", ".yml"):
        return parse_scenario(_read(path), str(path))
    shipped = shipped_scenarios()
    if name_or_file not in shipped:
        near = difflib.get_close_matches(name_or_file, shipped, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(shipped)}"
        raise ScenarioError(
            f"no scenario is called {name_or_file!r}; {remedy} A file of your own ends in .yaml"
        )
    return shipped[name_or_file]


def load_prompt_lists(
    file: Path, switch_every: Moment, *, world: str = "tiny", seed: int = 0
) -> list[Scenario]:
    """LongLive's interactive prompt lists: JSON lines of the form `{"prompts": ["first", "second", ...]}`.

    Args:
        file: the JSONL file.
        switch_every: how long each prompt plays.
        world: name of the world that plays them.
        seed: seed of every one of them.

    Returns:
        One scenario for each line.

    Raises:
        ScenarioError: the file is missing or empty, or a line has another form.
    """
    scenarios = []
    for number, line in enumerate(_read(file).splitlines(), start=1):
        if not line.strip():
            continue
        prompts = _prompt_list(line, f"{file}:{number}")
        later = [
            Moment(index * switch_every.amount, switch_every.unit) for index in range(1, len(prompts) + 1)
        ]
        scenarios.append(
            Scenario(
                name=f"{file.stem}-{number}",
                prompt=prompts[0],
                duration=later[-1],
                description=f"line {number} of {file.name}",
                world=world,
                seed=seed,
                timeline=tuple(
                    Cue(at, prompt, number) for at, prompt in zip(later, prompts[1:], strict=False)
                ),
                file=str(file),
                line=number,
            )
        )
    if not scenarios:
        raise ScenarioError(f'{file} is empty; expected lines such as {{"prompts": ["first", "second"]}}')
    return scenarios


def _prompt_list(line: str, place: str) -> list[str]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise ScenarioError(f"{place}: not valid JSON: {error.msg} at column {error.colno}") from error
    prompts = entry.get("prompts") if isinstance(entry, dict) else None
    valid = isinstance(prompts, list) and all(isinstance(text, str) and text.strip() for text in prompts)
    if not prompts or not valid:
        raise ScenarioError(
            f'{place}: expected {{"prompts": ["first", "second", ...]}} with texts that are not empty'
        )
    return [" ".join(text.split()) for text in prompts]


def _cue(item: Value) -> Cue:
    table = item.table(required=("at", "prompt"))
    return Cue(_moment(table["at"]), table["prompt"].text(), table["prompt"].line)


def _keys(value: Value, quick: int) -> dict[str, Change]:
    """What keys change; the number keys from 1 to `quick` are taken."""
    bindings = {}
    for key, change in value.table(optional=None).items():
        name = key.lower()
        if name not in KEYS:
            change.fail(f"there is no key {key!r}; {advice(name, KEYS)}")
        if name in bindings:
            change.fail(f"the key {name!r} comes twice; keep one")
        if name.isdecimal() and int(name) <= quick:
            change.fail(f"the key {name!r} is entry {name} of quick already; keep one")
        bindings[name] = _change(change)
    return bindings


def _change(value: Value) -> Change:
    """A whole prompt as a text, or `{action: ...}` and the like."""
    if value.is_text:
        return Change(value.text(), WHOLE, value.line)
    entries = list(value.table(optional=(WHOLE, *PARTS)).items())
    if len(entries) != 1:
        value.fail(f"{value.name} has {len(entries)} entries; give one of {WHOLE}, {', '.join(PARTS)}")
    ((part, words),) = entries
    return Change(words.text(), part, words.line)


def _moment(value: Value) -> Moment:
    try:
        return Moment.parse(value.text())
    except ValueError as error:
        value.fail(f"{value.name}: {error}")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path} is not UTF-8 text; save it as UTF-8") from error
