"""Captions of scenes: many wordings, a share of which training never sees."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from longlive_env.tiny.scene import Scene, check_split

# attribute -> value -> the phrases that name it, the plainest first
PHRASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "subject": {
        "robot": ("robot", "android", "droid"),
        "cat": ("cat", "kitten", "kitty"),
        "rabbit": ("rabbit", "bunny", "hare"),
        "chick": ("chick", "bird", "birdie"),
        "car": ("car", "automobile", "jeep"),
        "ghost": ("ghost", "spirit", "phantom"),
        "snail": ("snail", "slug"),
        "dinosaur": ("dinosaur", "dino", "dragon"),
    },
    "colour": {
        "red": ("red", "crimson", "scarlet"),
        "orange": ("orange", "tangerine"),
        "yellow": ("yellow", "golden"),
        "green": ("green", "emerald"),
        "blue": ("blue", "azure"),
        "purple": ("purple", "violet"),
        "pink": ("pink", "rosy"),
        "white": ("white", "ivory"),
    },
    "setting": {
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
        "desert": (
            "in the desert",
            "in a desert",
            "through the desert",
            "among the cacti",
            "by the pyramids",
        ),
        "mountains": (
            "in the mountains",
            "in the mountain valley",
            "through the mountains",
            "among the snowy peaks",
        ),
        "meadow": (
            "in the meadow",
            "in a meadow",
            "in a field of flowers",
            "through the meadow",
            "on the grass",
        ),
        "castle": (
            "at the castle",
            "in front of a castle",
            "by the castle walls",
            "at a castle",
            "by the fortress",
        ),
        "moon": ("on the moon", "on the surface of the moon", "across the moon", "on the lunar surface"),
    },
    "weather": {
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
    },
    "action": {
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
    },
}
TEMPLATES = (
    "a {colour} {subject} {action} {setting} {weather}",
    "{weather}, a {colour} {subject} {action} {setting}",
    "{setting}, a {colour} {subject} {action} {weather}",
    "a {colour} {subject} {action} {weather} {setting}",
    "{setting} {weather}, a {colour} {subject} {action}",
    "the {subject} is {colour} and {action} {setting} {weather}",
    "a {subject} {setting} {weather}. the {subject} is {colour}. it {action}",
    "{weather} {setting}, a {colour} {subject} {action}",
    "{colour} {subject}, {action}, {setting}, {weather}",
    "a {colour} {subject} {setting} {action} {weather}",
    "there is a {colour} {subject} {setting}. it {action} {weather}",
    "the {colour} {subject} {action}. we are {setting} {weather}",
    "{weather}, there is a {subject} {setting}. it is {colour} and {action}",
    "a cartoon of a {colour} {subject} that {action} {setting} {weather}",
    "{setting}, {weather}: a {colour} {subject} {action}",
)
HELD_OUT_TEMPLATES = TEMPLATES[2::5]  # one in five
TRAIN_TEMPLATES = tuple(template for template in TEMPLATES if template not in HELD_OUT_TEMPLATES)

PLAIN_SHARE = 0.4  # chance, for each attribute, of its plainest phrase

_ARTICLE = re.compile(r"\ba (?=[aeiou])")


def caption(scene: Scene, rng: np.random.Generator, split: str = "train") -> str:
    """A sentence that describes `scene`.

    Args:
        scene: the scene to describe.
        rng: chooses template and words.
        split: `"train"` or `"held_out"`, which decides the templates; both share the same words.

    Raises:
        ConfigError: there is no such split.
    """
    check_split(split)
    templates = TRAIN_TEMPLATES if split == "train" else HELD_OUT_TEMPLATES
    template = templates[rng.integers(len(templates))]
    words = {}
    for name, phrases in PHRASES.items():
        choices = phrases[scene.attribute(name)]
        words[name] = choices[0] if rng.random() < PLAIN_SHARE else choices[rng.integers(len(choices))]
    return with_articles(template.format(**words))


def with_articles(text: str) -> str:
    """The text with "an" instead of "a" before vowels."""
    return _ARTICLE.sub("an ", text)


def words(text: str) -> list[str]:
    """The lower-case words and punctuation marks of a text."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def vocabulary() -> list[str]:
    """Every word and mark that captions can contain, sorted."""
    texts = [template.format(**dict.fromkeys(PHRASES, "")) for template in TEMPLATES]
    texts += [phrase for table in PHRASES.values() for phrases in table.values() for phrase in phrases]
    return sorted({word for text in texts for word in words(text)} | {"an"})
