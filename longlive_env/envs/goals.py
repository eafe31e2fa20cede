"""Goals as texts: parsing a text into attribute values of a scene, and describing values as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from longlive_env.engine.completion import EXCLUDING, Found, PhraseBook
from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.tiny import captions
from longlive_env.tiny.scene import ATTRIBUTES, Scene

LOOKS = ("subject", "colour", "setting", "weather")  # what a single frame shows
ANYTHING = "something"  # stands for any subject
_BOOK = PhraseBook(captions.PHRASES, captions.SHORT_PHRASES)


def describe(values: Mapping[str, str]) -> str:
    """Describe attribute values in the plainest words; `parse` reads them back.

    Args:
        values: attribute -> value, for some or all of `ATTRIBUTES`.

    Raises:
        ConfigError: an attribute or a value is unknown, or there are none.
    """
    _check_values(values)
    words = {name: plain(name, value) for name, value in values.items()}
    if "subject" in words:
        who = f"a {words['colour']} {words['subject']}" if "colour" in words else f"a {words['subject']}"
    else:
        who = f"{ANYTHING} {words['colour']}" if "colour" in words else ""
    parts = [who, *(words.get(name, "") for name in ("action", "setting", "weather"))]
    return captions.with_articles(" ".join(part for part in parts if part))


def plain(attribute: str, value: str) -> str:
    """Return the plainest words for a value of an attribute."""
    return captions.PHRASES[attribute][value][0]


def describe_scene(scene: Scene) -> str:
    """Describe all attributes of a scene in the plainest words."""
    return describe(values_of(scene, tuple(ATTRIBUTES)))


def parse(text: str, what: str = "goal") -> dict[str, str]:
    """Return attribute -> value for what `text` names, in the words and synonyms of captions.

    Args:
        text: goal, or another text that asks for a scene.
        what: kind of text, for error messages.

    Raises:
        ConfigError: it names nothing, or two values of one attribute.
    """
    named = _read(text).values
    for name, values in named.items():
        if len(values) > 1:
            raise ConfigError(
                f"the {what} {text!r} names two values of {name}, {values[0]} and {values[1]}; name one"
            )
    if not named:
        raise ConfigError(
            f"the {what} {text!r} names nothing that a scene can show; "
            "try something like 'a red robot in the city at night'"
        )
    return {name: values[0] for name, values in named.items()}


def parse_wholly(text: str) -> dict[str, str]:
    """Parse a text that is to be scored, refusing words that the score would ignore.

    Raises:
        ConfigError: as `parse`, or a word is unknown, or excludes something.
    """
    values, known = parse(text), {*captions.known_words(), ANYTHING} - EXCLUDING
    for word in _read(text).rest:
        if word in EXCLUDING:
            raise ConfigError(
                f"the goal {text!r} says what not to show ({word!r}), which has no score; name what to show"
            )
        if word.isalnum() and word not in known:
            remedy = did_you_mean(word, known, f"name {', '.join(ATTRIBUTES)} in words that the world knows")
            raise ConfigError(f"the goal {text!r} has a word that scores nothing, {word!r}; {remedy}")
    return values


def parse_leniently(text: str) -> dict[str, str]:
    """Return attribute -> value for what `text` names, leaving out attributes with several values.

    This accepts any prompt, even one that names nothing.
    """
    return {name: values[0] for name, values in _read(text).values.items() if len(values) == 1}


def scene_of_prompt(prompt: str) -> Scene:
    """Return the scene that a prompt asks for, as `parse_first`; what it leaves open has its first value."""
    unsaid = {name: values[0] for name, values in ATTRIBUTES.items()}
    return Scene(**{**unsaid, **parse_first(prompt)})


def parse_first(text: str) -> dict[str, str]:
    """Parse as `parse_leniently`, but take the first value if the text names several."""
    return {name: values[0] for name, values in _read(text).values.items()}


def _read(text: str) -> Found:
    return _BOOK.read(text)


def check_attributes(whose: str, names: Iterable[str], among: Iterable[str] = ATTRIBUTES) -> None:
    """Check that `names` are one or more of `among`, each once.

    Raises:
        ConfigError: they are not; the message calls them `whose`.
    """
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"{whose} is {names!r}; give a tuple of names")
    found, known = tuple(names), tuple(among)
    if not found or len(set(found)) < len(found) or any(name not in known for name in found):
        raise ConfigError(f"{whose} is {found!r}; expected one or more of {', '.join(known)}, each once")


def values_of(scene: Scene, attributes: tuple[str, ...]) -> dict[str, str]:
    """Return attribute -> value of `scene`, for some attributes."""
    return {name: scene.attribute(name) for name in attributes}


def _check_values(values: Mapping[str, str]) -> None:
    """Check that every attribute and value exists.

    Raises:
        ConfigError: one does not, or there are none.
    """
    if not values:
        raise ConfigError(f"a goal needs a value of at least one of {', '.join(ATTRIBUTES)}")
    for name, value in values.items():
        if name not in ATTRIBUTES:
            raise ConfigError(f"{name!r} is not an attribute; expected one of {', '.join(ATTRIBUTES)}")
        if value not in ATTRIBUTES[name]:
            raise ConfigError(f"{name} {value!r} is unknown; expected one of {', '.join(ATTRIBUTES[name])}")
