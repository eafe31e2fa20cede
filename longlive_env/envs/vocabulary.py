"""Vocabularies of worlds: prompts to sample, and the words that identify a subject and a setting."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from longlive_env.engine.config import PRESETS, WorldConfig
from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.tiny import captions, scene

NEAR = 0.7  # share of letters in common from which a word is taken for another, see `difflib`
STOCK_SUBJECTS = (
    "A young woman with a long red coat",
    "An old fisherman in a yellow raincoat",
    "A golden retriever with a blue collar",
    "A small silver robot with round eyes",
    "A knight in polished armour",
    "A white horse with a flowing mane",
    "A girl in a striped jumper",
    "A grey cat with green eyes",
)
STOCK_ACTIONS = (
    "walks slowly towards the camera",
    "turns around and looks back",
    "runs along at an easy pace",
    "stands still and watches the sky",
    "sits down to rest",
    "dances with light steps",
)
STOCK_SETTINGS = (
    "on a wide beach with gentle waves",
    "in a quiet forest of tall birches",
    "in a busy street lined with small shops",
    "on a snowy mountain path",
    "in a field of lavender",
    "inside an old library with high shelves",
    "by a lake that mirrors the hills",
    "on a bridge over a slow river",
)
STOCK_LIGHTS = (
    "in soft morning light",
    "at golden hour",
    "under heavy clouds",
    "at night under street lamps",
)

_PLACED = re.compile(
    r"\b(?:(?:in|inside|on|at|by|near|under|beneath|over|above|through|across|along|among|around|behind|beside|"
    r"between|against|throughout|within|outside|atop)\s+[a-z]|underwater|outdoors|indoors|downtown)"
)
_NAMED = re.compile(
    r"\b(?:an?|the|two|three|four|several|some|many|this|these|that|his|her|their|its|my|our)\s+[^\W\d_]{2}"
)
_PRONOUN_FIRST = re.compile(r"^\W*(?:it|he|she|they|we|you|i)\b")
_ENGLISH = re.compile(r"[a-z]")
_FILLERS = frozenset(
    captions.words("a an the in on at by of to through along among across front is does not")
)


@dataclass(frozen=True)
class Vocabulary:
    """How to sample prompts for a world, and how to recognise what a prompt names.

    Attributes:
        sample: function that draws one sensible prompt.
        names_subject: function that returns whether a prompt says who or what is seen.
        names_setting: function that returns whether a prompt says where.
        subjects: a few subjects, for messages.
        settings: a few settings, for messages.
        phrases: phrases for the `action`, `setting` and `weather` of a prompt.
        nouns: words or phrases for a subject, without its colour.
        colours: words for a subject's colour.
        attributes: attributes that a probe can read from the world's pictures, with their values; empty
            without a probe.
        words: all words that the world knows; empty if it may know any.
        pieces: those that are one token each.
        needless: words that ask for nothing where the world completes prompts, and are no fault there.
    """

    sample: Callable[[np.random.Generator], str]
    names_subject: Callable[[str], bool]
    names_setting: Callable[[str], bool]
    subjects: tuple[str, ...]
    settings: tuple[str, ...]
    phrases: Mapping[str, tuple[str, ...]]
    nouns: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    words: frozenset[str] = frozenset()
    pieces: frozenset[str] = frozenset()
    needless: frozenset[str] = frozenset()

    def unknown_words(self, prompt: str, *, completes: bool = True) -> list[str]:
        """Return the words of a prompt that the world does not know, each once, without loading the world.

        Args:
            prompt: the prompt.
            completes: whether the world completes prompts of a few words, and so knows the words of these.
        """
        if not self.words:
            return []
        known = self.words | self.needless if completes else self.pieces
        found = (word for word in captions.words(prompt) if word.isalnum() and word not in known)
        return list(dict.fromkeys(found))

    def nearest(self, word: str) -> str:
        """Return the known word that an unknown one seems to be meant for, or "" where none is close.

        First letters are seldom mistyped, so they have to agree: a knight is not the night.
        """
        return _nearest(word.lower(), self.words)


@lru_cache(maxsize=4096)  # the prompt box asks for every word of its line, again for each picture
def _nearest(word: str, known: frozenset[str]) -> str:
    alike = sorted(other for other in known if other[0] == word[0] and len(other) > 2)
    near = difflib.get_close_matches(word, alike, n=1, cutoff=NEAR)
    return near[0] if near else ""


def named_by(world: str | os.PathLike[str]) -> str:
    """Return `WorldConfig.vocabulary` of a world that is not loaded, given its name or its folder of weights.

    It is empty, too, for a world that cannot be read; loading says why.
    """
    name = os.fspath(world)
    if name in PRESETS:
        return PRESETS[name].vocabulary
    try:
        values = json.loads((Path(world) / "config.json").read_text(encoding="utf-8"))
        return WorldConfig.of(values).vocabulary
    except (OSError, ValueError):  # there is no such file in the published layout
        return ""


def vocabulary_of(name: str) -> Vocabulary:
    """Return the vocabulary of this name, see `WorldConfig.vocabulary`; an empty one is the open one.

    Raises:
        ConfigError: there is no such vocabulary.
    """
    if not name:
        return OPEN
    if name not in VOCABULARIES:
        known = f"expected {', '.join(map(repr, VOCABULARIES))}, or '' for any words"
        remedy = did_you_mean(name, VOCABULARIES, known)
        raise ConfigError(f"a world's vocabulary, which its config.json names, is {name!r}; {remedy}")
    return VOCABULARIES[name]


def _sample_scene(rng: np.random.Generator) -> str:
    return captions.caption(scene.sample_scene(rng), rng)


@lru_cache
def _keywords(attribute: str) -> frozenset[str]:
    """Return the words that stand for a value of `attribute` and for no other attribute."""
    words = {
        name: {
            word
            for phrases in captions.PHRASES[name].values()
            for phrase in phrases
            for word in captions.words(phrase)
        }
        for name in scene.ATTRIBUTES
    }
    others = set().union(*(words[name] for name in scene.ATTRIBUTES if name != attribute))
    return frozenset(words[attribute] - others - _FILLERS)


def _names(attribute: str) -> Callable[[str], bool]:
    return lambda prompt: not _keywords(attribute).isdisjoint(captions.words(prompt))


def _phrases(attribute: str) -> tuple[str, ...]:
    return tuple(phrase for phrases in captions.PHRASES[attribute].values() for phrase in sorted(phrases))


def _sample_stock(rng: np.random.Generator) -> str:
    subject, action, setting, light = (
        options[rng.integers(len(options))]
        for options in (STOCK_SUBJECTS, STOCK_ACTIONS, STOCK_SETTINGS, STOCK_LIGHTS)
    )
    return f"{subject} {action} {setting}, {light}."


def _seems_to_name_subject(prompt: str) -> bool:
    text = prompt.lower()
    if not _ENGLISH.search(text):  # the heuristic only covers English
        return True
    return bool(_NAMED.search(text)) and not _PRONOUN_FIRST.search(text)


def _seems_to_name_setting(prompt: str) -> bool:
    text = prompt.lower()
    return not _ENGLISH.search(text) or bool(_PLACED.search(text))


OPEN = Vocabulary(
    sample=_sample_stock,
    names_subject=_seems_to_name_subject,
    names_setting=_seems_to_name_setting,
    subjects=("a woman in a red coat", "a white horse"),
    settings=("on a wide beach", "in a quiet forest"),
    phrases={"action": STOCK_ACTIONS, "setting": STOCK_SETTINGS, "weather": STOCK_LIGHTS},
    nouns=STOCK_SUBJECTS,
)
VOCABULARIES: dict[str, Vocabulary] = {
    "tiny": Vocabulary(
        sample=_sample_scene,
        names_subject=_names("subject"),
        names_setting=_names("setting"),
        subjects=scene.SUBJECTS,
        settings=scene.SETTINGS,
        phrases={part: _phrases(part) for part in ("action", "setting", "weather")},
        nouns=_phrases("subject"),
        colours=_phrases("colour"),
        attributes=scene.ATTRIBUTES,
        words=frozenset(captions.known_words()),
        pieces=frozenset(captions.vocabulary()),
        needless=frozenset(word for phrase in captions.NEEDLESS for word in captions.words(phrase)),
    ),
}
