"""Captions of scenes: many wordings, a share of which training never sees."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from longlive_env.tiny.scene import Scene

SUBJECT_WORDS: Mapping[str, tuple[str, ...]] = {
    "robot": ("robot", "android", "droid"),
    "cat": ("cat", "kitten", "kitty"),
    "rabbit": ("rabbit", "bunny", "hare"),
    "chick": ("chick", "bird", "birdie"),
    "car": ("car", "automobile", "jeep"),
    "ghost": ("ghost", "spirit", "phantom"),
    "snail": ("snail", "slug"),
    "dinosaur": ("dinosaur", "dino", "dragon"),
}
COLOUR_WORDS: Mapping[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "white": ("white", "ivory"),
}
PLACE_PHRASES: Mapping[str, tuple[str, ...]] = {
    "city": ("in the city", "in a city", "in town", "through the city", "on a city street", "downtown"),
    "forest": ("in the forest", "in a forest", "in the woods", "through the forest", "among the trees"),
    "beach": (
        "on the beach",
        "on a beach",
        "at the beach",
        "by the sea",
        "along the shore",
        "on the sand by the ocean",
    ),
    "desert": ("in the desert", "in a desert", "through the desert", "among the cacti", "by the pyramids"),
    "mountains": (
        "in the mountains",
        "in the mountain valley",
        "through the mountains",
        "among the snowy peaks",
    ),
    "meadow": ("in the meadow", "in a meadow", "in a field of flowers", "through the meadow", "on the grass"),
    "castle": (
        "at the castle",
        "in front of a castle",
        "by the castle walls",
        "at a castle",
        "by the fortress",
    ),
    "moon": ("on the moon", "on the surface of the moon", "across the moon", "on the lunar surface"),
}
WEATHER_PHRASES: Mapping[str, tuple[str, ...]] = {
    "clear": (
        "on a clear day",
        "on a sunny day",
        "in the sunshine",
        "in bright daylight",
        "under a blue sky",
    ),
    "night": ("at night", "by night", "under the stars", "in the moonlight", "in the dark"),
    "rain": ("in the rain", "on a rainy day", "while it rains", "as rain falls", "in rainy weather"),
    "snow": ("in the snow", "while it snows", "as snow falls", "on a snowy day", "in snowy weather"),
    "sunset": ("at sunset", "at dusk", "in the evening light", "as the sun sets", "under an orange sky"),
    "fog": ("in the fog", "on a foggy day", "in thick fog", "in the mist", "on a misty morning"),
}
ACTION_PHRASES: Mapping[str, tuple[str, ...]] = {
    "left": (
        "moves left",
        "walks left",
        "runs to the left",
        "goes to the left",
        "is moving left",
        "heads left",
    ),
    "right": (
        "moves right",
        "walks right",
        "runs to the right",
        "goes to the right",
        "is moving right",
        "heads right",
    ),
    "still": ("stands still", "stops", "is standing still", "waits", "does not move", "stays in place"),
    "jump": ("jumps", "is jumping", "jumps up and down", "hops", "leaps into the air", "keeps jumping"),
    "dance": (
        "dances",
        "is dancing",
        "sways from side to side",
        "wiggles",
        "dances happily",
        "keeps dancing",
    ),
}
TEMPLATES = (
    "a {colour} {subject} {action} {place} {weather}",
    "{weather}, a {colour} {subject} {action} {place}",
    "{place}, a {colour} {subject} {action} {weather}",
    "a {colour} {subject} {action} {weather} {place}",
    "{place} {weather}, a {colour} {subject} {action}",
    "the {subject} is {colour} and {action} {place} {weather}",
    "a {subject} {place} {weather}. the {subject} is {colour}. it {action}",
    "{weather} {place}, a {colour} {subject} {action}",
    "{colour} {subject}, {action}, {place}, {weather}",
    "a {colour} {subject} {place} {action} {weather}",
    "there is a {colour} {subject} {place}. it {action} {weather}",
    "the {colour} {subject} {action}. we are {place} {weather}",
    "{weather}, there is a {subject} {place}. it is {colour} and {action}",
    "a cartoon of a {colour} {subject} that {action} {place} {weather}",
    "{place}, {weather}: a {colour} {subject} {action}",
)
HELD_OUT_TEMPLATES = TEMPLATES[2::5]  # one in five
TRAIN_TEMPLATES = tuple(template for template in TEMPLATES if template not in HELD_OUT_TEMPLATES)

_PHRASES = {
    "subject": SUBJECT_WORDS,
    "colour": COLOUR_WORDS,
    "place": PLACE_PHRASES,
    "weather": WEATHER_PHRASES,
    "action": ACTION_PHRASES,
}
_SLOT_OF = {"place": "setting"}
_ARTICLE = re.compile(r"\ba (?=[aeiou])")


def caption(scene: Scene, rng: np.random.Generator, split: str = "train", plain: float = 0.4) -> str:
    """A sentence that describes `scene`.

    Args:
        scene: what to describe.
        rng: chooses template and words.
        split: `"train"` or `"held_out"`: which templates may be used; words are shared by both.
        plain: chance, for each attribute, of its first and most common wording.
    """
    if split not in ("train", "held_out"):
        raise ValueError(f"split {split!r} is not one of train, held_out")
    templates = TRAIN_TEMPLATES if split == "train" else HELD_OUT_TEMPLATES
    template = templates[rng.integers(len(templates))]
    words = {}
    for slot, phrases in _PHRASES.items():
        choices = phrases[scene.attribute(_SLOT_OF.get(slot, slot))]
        words[slot] = choices[0] if rng.random() < plain else choices[rng.integers(len(choices))]
    return _ARTICLE.sub("an ", template.format(**words))


def plain_caption(scene: Scene) -> str:
    """The one plainest sentence about `scene`, in the first template and the first words."""
    words = {
        slot: phrases[scene.attribute(_SLOT_OF.get(slot, slot))][0] for slot, phrases in _PHRASES.items()
    }
    return _ARTICLE.sub("an ", TEMPLATES[0].format(**words))


def attribute_words(attribute: str) -> dict[str, set[str]]:
    """For each value of an attribute, the phrases that name it: what a linter or completion looks for."""
    slot = {value: key for key, value in _SLOT_OF.items()}.get(attribute, attribute)
    return {value: set(phrases) for value, phrases in _PHRASES[slot].items()}


def words(text: str) -> list[str]:
    """The lower-case words and punctuation marks of a text."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def vocabulary() -> list[str]:
    """Every word and mark that captions can contain, sorted."""
    texts = [
        template.format(subject="", colour="", place="", weather="", action="") for template in TEMPLATES
    ]
    texts += [phrase for table in _PHRASES.values() for phrases in table.values() for phrase in phrases]
    return sorted({word for text in texts for word in words(text)} | {"an"})
