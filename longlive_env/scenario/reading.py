"""Turns the YAML of a scenario into its model, which knows nothing of YAML."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from longlive_env.engine.config import RECACHE_MODES
from longlive_env.envs.vocabulary import VOCABULARIES
from longlive_env.errors import ScenarioError
from longlive_env.scenario.change import PARTS, WHOLE, Change
from longlive_env.scenario.condition import Condition
from longlive_env.scenario.goals import Goal
from longlive_env.scenario.model import Scenario
from longlive_env.scenario.moment import START, Moment
from longlive_env.scenario.schema import Value, advice, parse
from longlive_env.scenario.timeline import Branch, Choice, Cue, Entry, Loop, Option

REQUIRED = ("name", "prompt", "duration")
TEXTS = ("name", "prompt", "pack")  # which are checked by themselves
PLAIN_TEXTS = ("description", "notes")
PATHS = ("world", "frames")
OPTIONAL = (
    "description",
    "pack",
    "world",
    "seed",
    "frames",
    "recache",
    "timeline",
    "goals",
    "live",
    "keys",
    "quick",
    "notes",
)
CHANGES = (WHOLE, *PARTS)
CUE = (*CHANGES, "blend", "note")
KINDS = ("choose", "when", "repeat")  # the key that tells an entry of a timeline that is not a cue
NAME = re.compile(r"[\w-]+")
LONGEST_NAME = 100  # bytes in UTF-8; file systems take 255, and recordings put more behind it
KEYS = ("left", "right", "up", "down", *string.ascii_lowercase, *"123456789")
QUICK_PROMPTS = 9  # as many as there are number keys
ALWAYS = "always"


def wrong_with_name(name: str) -> str:
    """Why a scenario cannot have this name, to follow the word for it; empty if it can."""
    if not NAME.fullmatch(name):
        return f"is {name!r}; use letters, digits, '-' and '_', since it names a folder"
    if name in ("null", "Null", "NULL"):
        return f"is {name!r}, which YAML reads as nothing; choose another"
    if (length := len(name.encode())) > LONGEST_NAME:
        return f"is {length} bytes long; use {LONGEST_NAME} at most, since it names a folder"
    return ""


def parse_scenario(text: str, file: str) -> Scenario:
    """Read the YAML of one scenario.

    Args:
        text: the YAML.
        file: name of the file, for messages.

    Raises:
        ScenarioError: something is missing, misspelt or of the wrong kind; the message names file and line.
    """
    try:
        return _scenario(text, file)
    except RecursionError:
        raise ScenarioError(f"{file}: it is nested too deeply, as no scenario needs to be") from None


def _scenario(text: str, file: str) -> Scenario:
    table = parse(text, file, "the scenario").table(required=REQUIRED, optional=OPTIONAL)
    texts = {key: table[key].text() for key in TEXTS if key in table}
    texts |= {key: table[key].plain() for key in PLAIN_TEXTS if key in table}
    texts |= {key: table[key].path() for key in PATHS if key in table}
    for key in ("name", "pack"):
        if key in texts and (problem := wrong_with_name(texts[key])):
            table[key].fail(f"{key} {problem}")
    quick = tuple(map(_change, table["quick"].items())) if "quick" in table else ()
    if len(quick) > QUICK_PROMPTS:
        table["quick"].fail(f"quick has {len(quick)} entries; there are {QUICK_PROMPTS} number keys")
    return Scenario(
        duration=_moment(table["duration"], "8 blocks"),
        seed=table["seed"].integer() if "seed" in table else 0,
        timeline=_timeline(table["timeline"]) if "timeline" in table else (),
        recache=table["recache"].choice(RECACHE_MODES) if "recache" in table else "full",
        goals=tuple(map(_goal, table["goals"].items())) if "goals" in table else (),
        live="live" in table and table["live"].choice(("true", "false")) == "true",
        keys=MappingProxyType(_keys(table["keys"], len(quick)) if "keys" in table else {}),
        quick=quick,
        file=file,
        line=table["prompt"].line,
        places=MappingProxyType({key: value.place for key, value in table.items()}),
        **texts,
    )


def _timeline(value: Value) -> tuple[Entry, ...]:
    return tuple(map(_entry, value.items()))


def _entry(value: Value) -> Entry:
    """One entry of a timeline: a cue, a choice, a branch or a loop."""
    keys = value.keys()
    kinds = [kind for kind in KINDS if kind in keys]
    changes = [change for change in CHANGES if change in keys]
    if kinds and len(kinds) + len(changes) > 1:
        first, second, *_ = (*changes, *kinds)
        value.fail(
            f"{value.name} has both {first!r} and {second!r}; "
            "make two entries of it, the second a block later"
        )
    match kinds:
        case ["choose"]:
            return _choice(value)
        case ["when"]:
            return _branch(value)
        case ["repeat"]:
            return _loop(value)
    table = value.table(required=("at",), optional=CUE if changes else (*CUE, *KINDS))
    if not changes:
        others = ", ".join((*PARTS, *KINDS))
        value.fail(f"{value.name} lacks the key {WHOLE!r}, or one of {others}; add {WHOLE}: ...")
    return _cue(value, _moment(table["at"]))


def _cue(value: Value, at: Moment) -> Cue:
    """A change of the prompt, with or without a time beside it."""
    table = value.table(optional=("at", "weight", *CUE))
    return Cue(
        at,
        change := _change_in(value, table),
        change.line,
        _length(table["blend"]) if "blend" in table else None,
        (table["note"].plain(),) if "note" in table else (),
    )


def _choice(value: Value) -> Choice:
    table = value.table(required=("at", "choose"), optional=("seed",))
    options = tuple(map(_option, table["choose"].items()))
    if len(options) < 2:
        table["choose"].fail(f"choose has {len(options)} entries; give two or more to choose from")
    if not sum(option.weight for option in options):
        table["choose"].fail("the weights of choose are all 0; make one of them greater")
    seed = table["seed"].integer() if "seed" in table else None
    return Choice(_moment(table["at"]), options, value.line, seed)


def _option(value: Value) -> Option:
    if value.is_text:
        return Option(_nested(value))
    _no_entry(value, "timeline: and below it ")
    table = value.table(optional=("weight", "timeline", *CUE))
    weight = table["weight"].number() if "weight" in table else 1.0
    if "timeline" not in table:
        return Option((_cue(value, START),), weight)
    value.table(optional=("weight", "timeline"))
    return Option(_timeline(table["timeline"]), weight)


def _branch(value: Value) -> Branch:
    table = value.table(required=("at", "when", "then"), optional=("else", "within"))
    return Branch(
        _moment(table["at"]),
        _condition(table["when"]),
        _nested(table["then"]),
        _nested(table["else"]) if "else" in table else (),
        value.line,
        _length(table["within"]) if "within" in table else None,
    )


def _loop(value: Value) -> Loop:
    table = value.table(required=("at", "repeat", "every", "timeline"))
    times = None
    if table["repeat"].text() != ALWAYS:
        times = table["repeat"].integer(f"a whole number such as 7, or {ALWAYS}")
        if times == 0:
            table["repeat"].fail(f"repeat is 0; expected 1 or more, or {ALWAYS}")
    every, timeline = _length(table["every"]), _timeline(table["timeline"])
    return Loop(_moment(table["at"]), every, timeline, value.line, times, table["every"].line)


def _nested(value: Value) -> tuple[Entry, ...]:
    """What follows a decision: a prompt, one change, or a timeline whose time begins there."""
    if value.is_text:
        return (Cue(START, Change(value.text(), WHOLE, value.line), value.line),)
    return _timeline(value) if value.is_list else (_cue_alone(value),)


def _cue_alone(value: Value) -> Cue:
    _no_entry(value)
    value.table(optional=CUE)
    return _cue(value, START)


def _no_entry(value: Value, before: str = "") -> None:
    """Fail if a timeline entry is where a single change belongs; a list of entries goes after `before`."""
    keys = value.keys()
    for key in ("at", *KINDS):
        if key in keys:
            value.fail(
                f"{value.name} has the key {key!r}, as entries of a timeline have; a timeline is a list, "
                f"so write {before}- {{at: ..., ...}}"
            )


def _goal(value: Value) -> Goal:
    table = value.table(required=("name", "when"), optional=("points", "hold", "after", "by"))
    goal = Goal(
        table["name"].plain(),
        _condition(table["when"]),
        table["points"].signed() if "points" in table else 1,
        table["hold"].integer() if "hold" in table else 1,
        _moment(table["after"]) if "after" in table else START,
        _moment(table["by"]) if "by" in table else None,
        value.line,
    )
    if goal.hold < 1:
        table["hold"].fail("hold is 0; expected how many blocks in a row, 1 or more")
    return goal


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
    """A whole prompt as a text, or `{action: ...}` and the like for one or several parts."""
    if value.is_text:
        return Change(value.text(), WHOLE, value.line)
    return _change_in(value, value.table(optional=CHANGES))


def _change_in(value: Value, table: dict[str, Value]) -> Change:
    given = [key for key in table if key in CHANGES]
    if not given:
        value.fail(f"{value.name} changes nothing; give {WHOLE}, or some of {', '.join(PARTS)}")
    if WHOLE in given and len(given) > 1:
        part = next(key for key in given if key != WHOLE)
        value.fail(f"{value.name} has both {WHOLE!r} and {part!r}; give the whole prompt, or parts of it")
    given.sort(key=lambda key: key != "subject")  # which goes with its colour, so a new colour comes later
    words = {key: replace(table[key], required=len(given) == 1) for key in given}
    return Change.of([Change(text.text(), key, text.line) for key, text in words.items()])


def _condition(value: Value) -> Condition:
    text = value.text("a condition", "weather == rain")
    try:
        return Condition.parse(text, _readable())
    except ValueError as error:
        value.fail(f"{value.name}: {error}")


@lru_cache
def _readable() -> dict[str, tuple[str, ...]]:
    """All that probes can read, of any world; which one plays is known later."""
    return {name: values for known in VOCABULARIES.values() for name, values in known.attributes.items()}


def _moment(value: Value, blocks: str = "block 8") -> Moment:
    text = value.text("a time", "5s")
    try:
        return Moment.parse(text, blocks)
    except ValueError as error:
        value.fail(f"{value.name}: {error}")


def _length(value: Value) -> Moment:
    length = _moment(value, "8 blocks")
    if not length.amount:
        value.fail(f"{value.name} is {value.text()!r}; expected a length of time such as 3 blocks or 2s")
    return length
