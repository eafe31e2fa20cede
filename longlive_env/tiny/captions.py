"""Captions of scenes: many wordings, a share of which training never sees."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from longlive_env.tiny.scene import ATTRIBUTES, Scene, check_split, without_saying

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
# More of them for prompts of a few words, as people type them while a take goes on.
SHORT_PHRASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "subject": {
        "robot": ("bot", "robots", "mech"),
        "cat": ("cats", "kittens"),
        "rabbit": ("rabbits", "bunnies"),
        "chick": ("chicken", "chicks", "birds", "hen", "duckling"),
        "car": ("vehicle", "cars", "taxi", "truck", "van"),
        "ghost": ("ghosts",),
        "snail": ("snails", "slugs"),
        "dinosaur": ("dinosaurs", "dragons", "trex", "t rex", "t - rex", "t . rex"),
    },
    "colour": {
        "red": ("ruby", "maroon", "dark red"),
        "orange": ("dark orange", "light orange"),
        "yellow": ("gold",),
        "green": ("lime", "dark green", "light green"),
        "blue": ("navy", "dark blue", "light blue"),
        "purple": ("lilac", "lavender", "magenta", "dark purple"),
        "pink": ("hot pink",),
    },
    "setting": {
        "city": (
            "city",
            "town",
            "street",
            "streets",
            "village",
            "road",
            "highway",
            "buildings",
            "skyscrapers",
        ),
        "forest": ("forest", "woods", "wood", "trees", "tree", "jungle", "green forest", "green trees"),
        "beach": (
            "beach",
            "sea",
            "ocean",
            "seaside",
            "coast",
            "shore",
            "seashore",
            "sand",
            "island",
            "waves",
            "palm trees",
            "palm tree",
            "blue sea",
            "blue ocean",
            "on the sand",
            "golden sand",
            "white sand",
        ),
        "desert": ("desert", "cactus", "cacti", "pyramid", "pyramids", "dunes", "oasis", "sand dunes"),
        "mountains": (
            "mountains",
            "mountain",
            "hills",
            "hill",
            "valley",
            "peaks",
            "cliff",
            "snowy peaks",
            "snowy mountains",
            "green hills",
        ),
        "meadow": (
            "meadow",
            "field",
            "fields",
            "flowers",
            "flower",
            "grass",
            "garden",
            "lawn",
            "farm",
            "in the park",
            "in a park",
            "a park",
            "green grass",
            "green field",
            "green meadow",
            "pink flowers",
            "yellow flowers",
        ),
        "castle": ("castle", "fortress", "palace", "fort", "tower", "sand castle"),
        "moon": ("moon", "space", "in space", "outer space"),
    },
    "weather": {
        "clear": (
            "sunny",
            "clear",
            "sunshine",
            "sunlight",
            "daylight",
            "daytime",
            "day",
            "sun",
            "morning",
            "noon",
            "midday",
            "afternoon",
            "summer",
            "clear sky",
            "blue sky",
            "bright day",
            "no rain",
            "no snow",
            "no fog",
            "no more rain",
            "no more snow",
            "stop raining",
            "stops raining",
            "stop snowing",
            "stops snowing",
            "stop the rain",
            "stop the snow",
            "the rain stops",
            "the snow stops",
            "the fog clears",
        ),
        "night": (
            "night",
            "midnight",
            "starry",
            "tonight",
            "nighttime",
            "dark",
            "darkness",
            "moonlight",
            "stars",
            "it is night",
            "night time",
            "starry night",
            "nightfall",
            "under the moon",
            "night sky",
            "dark night",
            "full moon",
        ),
        "rain": (
            "rain",
            "raining",
            "rainy",
            "storm",
            "rains",
            "drizzle",
            "stormy",
            "thunder",
            "thunderstorm",
            "it rains",
            "pouring rain",
            "rainy day",
            "rainy night",
        ),
        "snow": (
            "snow",
            "snowing",
            "snowy",
            "snowfall",
            "snows",
            "snowstorm",
            "blizzard",
            "winter",
            "it snows",
            "snowy day",
            "snowy night",
            "white snow",
        ),
        "sunset": (
            "sunset",
            "dusk",
            "evening",
            "twilight",
            "sunrise",
            "dawn",
            "sundown",
            "sun sets",
            "sun goes down",
            "setting sun",
            "golden hour",
            "orange sunset",
            "red sunset",
            "red sky",
            "orange sky",
            "pink sky",
        ),
        "fog": (
            "fog",
            "foggy",
            "mist",
            "misty",
            "haze",
            "hazy",
            "foggy day",
            "foggy morning",
            "misty morning",
        ),
    },
    "action": {
        "left": (
            "left",
            "walk left",
            "go left",
            "move left",
            "run left",
            "head left",
            "walking left",
            "moving left",
            "turn left",
            "to the left",
        ),
        "right": (
            "right",
            "walk right",
            "go right",
            "move right",
            "run right",
            "running right",
            "walking right",
            "moving right",
            "turn right",
            "to the right",
        ),
        "still": (
            "stop",
            "stay",
            "wait",
            "stand",
            "standing",
            "halt",
            "freeze",
            "pause",
            "sit",
            "rest",
            "stand still",
            "stay in place",
            "stay still",
            "hold still",
            "be still",
            "don't move",
            "do not move",
            "stop walking",
            "stop running",
            "stop moving",
            "stop jumping",
            "stop dancing",
            "don't jump",
            "don't dance",
            "don't walk",
            "don't run",
        ),
        "jump": (
            "jump",
            "jumping",
            "hop",
            "leap",
            "bounce",
            "bouncing",
            "hopping",
            "leaping",
            "fly",
            "flying",
            "jump up and down",
            "jump high",
        ),
        "dance": ("dance", "dancing", "wiggle", "sway", "spin", "spinning", "twirl", "swaying"),
    },
}
WALKS = (
    "walks",
    "runs",
    "moves",
    "walk",
    "run",
    "move",
    "walking",
    "running",
    "moving",
    "drive",
    "drives",
    "driving",
)  # either way
TURN_AROUND = (
    "turn around",
    "turns around",
    "turn back",
    "turns back",
    "go back",
    "goes back",
    "walk back",
    "walks back",
    "run back",
    "runs back",
    "reverse",
    "other way",
    "other direction",
    "opposite direction",
)  # the other way than so far
WEAK = {"action": ("still",), "weather": ("clear",)}  # what "stop" and "sunny" ask for, unless more is said
_ASKS_NOTHING = """
it's it make please let let's want show me i you can turn turns now then
into to be becomes become of with some more go goes here very one time
switch change changes paint color colour start starts begin begins keep keeps
get gets take him her them instead
no not never without except nor nothing leave leaves leaving
"""
# words and phrases that people use all the same
NEEDLESS = (*_ASKS_NOTHING.split(), "right now", "right away", "all right")
FILLERS = ("now", "then", "suddenly", "and", "please make it", "let it", "a picture of", "happily")
NOUNS = ("it", "dog", "knight", "monster", "girl")  # where no subject is named; most are unknown words
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
SHORT_SHARE = 0.5  # chance, in a short caption, of a short phrase
NOUN_SHARE = 0.3  # chance of a noun where neither subject nor colour is named
FILLER_SHARE = 0.2

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
    words = {name: _worded(phrases[scene.attribute(name)], rng) for name, phrases in PHRASES.items()}
    return with_articles(template.format(**words))


def short_caption(scene: Scene, rng: np.random.Generator, before: Scene | None = None) -> str:
    """A few words that ask for `scene`, with what goes without saying left out.

    Args:
        scene: the scene to ask for.
        rng: chooses the words and their order.
        before: the scene so far, of which the rest stays; without one, the rest is usual, see `completed`.

    Returns:
        Fragments in any order, sometimes among words that mean nothing to the world.
    """
    known = before or without_saying(scene)
    phrases = {
        name: _short_phrase(name, scene, rng, before)
        for name in ATTRIBUTES
        if scene.attribute(name) != known.attribute(name)
    }
    colour, subject = phrases.pop("colour", ""), phrases.pop("subject", "")
    pieces = [phrases[name] for name in rng.permutation(list(phrases))]
    if colour or subject or not pieces or rng.random() < NOUN_SHARE:
        noun = subject or ("" if colour and rng.random() < 0.4 else NOUNS[rng.integers(len(NOUNS))])
        article = ("a", "the", "")[rng.integers(3)]
        at = 0 if rng.random() < 0.5 else int(rng.integers(len(pieces) + 1))  # mostly as in a sentence
        pieces.insert(at, " ".join(filter(None, (article, colour, noun))))
    if rng.random() < FILLER_SHARE:
        pieces.insert(int(rng.integers(len(pieces) + 1)), FILLERS[rng.integers(len(FILLERS))])
    return with_articles(", ".join(pieces))  # as words of two pieces may make another phrase


def _short_phrase(name: str, scene: Scene, rng: np.random.Generator, before: Scene | None) -> str:
    """A phrase for one attribute: a short one, or one of those of whole captions."""
    value = scene.attribute(name)
    short = SHORT_PHRASES[name].get(value, ())
    if value == "right" and (before is None or before.action != "left"):
        short += WALKS
    if short and rng.random() < SHORT_SHARE:
        return short[rng.integers(len(short))]
    return _worded(PHRASES[name][value], rng)


def _worded(phrases: tuple[str, ...], rng: np.random.Generator) -> str:
    return phrases[0] if rng.random() < PLAIN_SHARE else phrases[rng.integers(len(phrases))]


def with_articles(text: str) -> str:
    """The text with "an" instead of "a" before vowels."""
    return _ARTICLE.sub("an ", text)


def words(text: str) -> list[str]:
    """The lower-case words and punctuation marks of a text."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text.lower())


def linking_words() -> list[str]:
    """Every word and mark that stands between the phrases of captions, sorted."""
    texts = (template.format(**dict.fromkeys(PHRASES, "")) for template in TEMPLATES)
    return sorted({word for text in texts for word in words(text)} | {"an"})


def vocabulary() -> list[str]:
    """Every word and mark that captions can contain, sorted; short ones may contain others."""
    phrases = (phrase for table in PHRASES.values() for values in table.values() for phrase in values)
    return sorted({*linking_words(), *(word for phrase in phrases for word in words(phrase))})


def phrases_of(attribute: str) -> dict[str, tuple[str, ...]]:
    """Value -> the phrases that name it in captions of either kind, the plainest first."""
    short = SHORT_PHRASES[attribute]
    return {value: (*full, *short.get(value, ())) for value, full in PHRASES[attribute].items()}


def known_words() -> list[str]:
    """Every word and mark of captions of either kind, sorted."""
    texts = [phrase for table in SHORT_PHRASES.values() for phrases in table.values() for phrase in phrases]
    return sorted({*vocabulary(), *(word for text in (*texts, *WALKS, *TURN_AROUND) for word in words(text))})
