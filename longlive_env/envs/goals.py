"""Goals as texts: what a text asks a scene to show, and the text that asks for some values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.tiny import captions
from longlive_env.tiny.scene import ATTRIBUTES, Scene

LOOKS = ("subject", "colour", "setting", "weather")  # what a single frame shows
ANYTHING = "something"  # stands for any subject


def describe(values: Mapping[str, str]) -> str:
    """The plainest text that asks for these values of attributes; `parse` reads it back.

    Args:
        values: attribute -> value, for some or all of `ATTRIBUTES`.

    Raises:
        ConfigError: an attribute or a value is unknown, or there is none.
    """
    _check_values(values)
    plain = {name: captions.PHRASES[name][value][0] for name, value in values.items()}
    if "subject" in plain:
        who = f"a {plain['colour']} {plain['subject']}" if "colour" in plain else f"a {plain['subject']}"
    else:
        who = f"{ANYTHING} {plain['colour']}" if "colour" in plain else ""
    parts = [who, *(plain.get(name, "") for name in ("action", "setting", "weather"))]
    return captions.with_articles(" ".join(part for part in parts if part))


def describe_scene(scene: Scene) -> str:
    """The plainest text that asks for all attributes of a scene."""
    return describe(values_of(scene, tuple(ATTRIBUTES)))


def parse(text: str, what: str = "goal") -> dict[str, str]:
    """Attribute -> value for what `text` names, in the words and synonyms of captions.

    Args:
        text: of a goal, or what else asks for a scene.
        what: the text is, for the message of an error.

    Raises:
        ConfigError: it names nothing, or two values of one attribute.
    """
    named = _named(text)
    for name, values in named:
        if len(values) > 1:
            raise ConfigError(
                f"the {what} {text!r} names two values of {name}, {values[0]} and {values[1]}; name one"
            )
    if not named:
        raise ConfigError(
            f"the {what} {text!r} names nothing that a scene can show; "
            "try something like 'a red robot in the city at night'"
        )
    return {name: values[0] for name, values in named}


def parse_wholly(text: str) -> dict[str, str]:
    """As `parse`, for a text that is to be scored: a word that means nothing would be left out of the score.

    Raises:
        ConfigError: see `parse`; or a word is unknown.
    """
    values, known = parse(text), {*captions.vocabulary(), ANYTHING}
    for word in captions.words(text):
        if word.isalnum() and word not in known:
            remedy = did_you_mean(word, known, f"name {', '.join(ATTRIBUTES)} in words that the world knows")
            raise ConfigError(f"the goal {text!r} has a word that scores nothing, {word!r}; {remedy}")
    return values


def parse_leniently(text: str) -> dict[str, str]:
    """Attribute -> value for what `text` names, without attributes of which it names several values.

    Any prompt may be read so, also one that names nothing.
    """
    return {name: values[0] for name, values in _named(text) if len(values) == 1}


def parse_first(text: str) -> dict[str, str]:
    """As `parse_leniently`, with the first value of an attribute of which the text names several."""
    return {name: values[0] for name, values in _named(text)}


@lru_cache(maxsize=4096)
def _named(text: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Attributes that a text names, with all of the values that it names, in its order."""
    words, found = captions.words(text), list[tuple[int, str, str]]()
    for phrase, name, value in _lexicon():
        at = _find(words, phrase)
        if at is None:
            continue
        found.append((at, name, value))
        # A word counts once: the blue of a blue sky is not a colour.
        words[at : at + len(phrase)] = [""] * len(phrase)
    named: dict[str, list[str]] = {}
    for _, name, value in sorted(found):
        values = named.setdefault(name, [])
        if value not in values:
            values.append(value)
    return tuple((name, tuple(named[name])) for name in ATTRIBUTES if name in named)


def check_attributes(whose: str, names: Iterable[str], among: Iterable[str] = ATTRIBUTES) -> None:
    """Pass if `names` are some of `among`, each once.

    Raises:
        ConfigError: they are not; `whose` is what has them, for the message.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"{whose} is {names!r}; give a tuple of names")
    found, known = tuple(names), tuple(among)
    if not found or len(set(found)) < len(found) or any(name not in known for name in found):
        raise ConfigError(f"{whose} is {found!r}; expected one or more of {', '.join(known)}, each once")


def values_of(scene: Scene, attributes: tuple[str, ...]) -> dict[str, str]:
    """Attribute -> value of `scene`, for some attributes."""
    return {name: scene.attribute(name) for name in attributes}


def _check_values(values: Mapping[str, str]) -> None:
    """Pass if every attribute and value exists.

    Raises:
        ConfigError: one does not, or there is none.
    """
    if not values:
        raise ConfigError(f"a goal needs a value of at least one of {', '.join(ATTRIBUTES)}")
    for name, value in values.items():
        if name not in ATTRIBUTES:
            raise ConfigError(f"{name!r} is not an attribute; expected one of {', '.join(ATTRIBUTES)}")
        if value not in ATTRIBUTES[name]:
            raise ConfigError(f"{name} {value!r} is unknown; expected one of {', '.join(ATTRIBUTES[name])}")


@lru_cache
def _lexicon() -> tuple[tuple[tuple[str, ...], str, str], ...]:
    """Every phrase as words, with its attribute and value, the longest first."""
    entries = [
        (tuple(captions.words(phrase)), name, value)
        for name, values in captions.PHRASES.items()
        for value, phrases in values.items()
        for phrase in phrases
    ]
    return tuple(sorted(entries, key=lambda entry: -len(entry[0])))


def _find(words: list[str], phrase: tuple[str, ...]) -> int | None:
    """Where `phrase` begins among `words`."""
    size = len(phrase)
    return next((i for i in range(len(words) - size + 1) if tuple(words[i : i + size]) == phrase), None)
