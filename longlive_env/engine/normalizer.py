"""Text preparation of a `tokenizer.json`: normalizers (text to text) and pre-tokenizers (text to words).

It covers only the kinds used by the published umT5 tokenizer and by small worlds' whole-word tokenizers.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import numpy as np

from longlive_env.errors import WeightsError

Normalizer = Callable[[str], str]
PreTokenizer = Callable[[list[str], bool], list[str]]  # words, whether the first opens the text -> more words
Spec = Mapping[str, Any]

# What extends the character before it, besides Unicode's marks: joiners, half-width kana signs, skin tones.
_EXTENDERS = set("\u200c\u200d\uff9e\uff9f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")
_SHORT_CLUSTER_BYTES = 6


class CharsMap:
    """SentencePiece's precompiled replacement table: a double-array trie, then replacements ending in NUL.

    Args:
        blob: the table, as `tokenizer.json` has it after base64 decoding.
    """

    def __init__(self, blob: bytes) -> None:
        size = int.from_bytes(blob[:4], "little")
        if size % 4 or len(blob) < 4 + size:
            raise WeightsError(f"precompiled_charsmap has {len(blob)} bytes but announces a trie of {size}")
        self._units: list[int] = np.frombuffer(blob, "<u4", size // 4, 4).tolist()
        self._replacements = blob[4 + size :]
        self._cluster = lru_cache(maxsize=8192)(self._replace_cluster)

    def __call__(self, text: str) -> str:
        """Replace every cluster of characters, or each of its characters, that the table knows."""
        return "".join(map(self._cluster, _clusters(text)))

    def _replace_cluster(self, cluster: str) -> str:
        if len(cluster.encode()) < _SHORT_CLUSTER_BYTES:
            whole = self._lookup(cluster)
            if whole is not None:
                return whole
        return "".join(char if (new := self._lookup(char)) is None else new for char in cluster)

    def _lookup(self, key: str) -> str | None:
        """The replacement for the shortest prefix of `key` in the trie; it replaces the whole key."""
        units, node = self._units, 0
        node ^= _offset(units[0])
        for byte in key.encode():
            node ^= byte
            unit = units[node] if node < len(units) else 0
            if byte == 0 or unit & 0x800000FF != byte:
                return None
            node ^= _offset(unit)
            if unit >> 8 & 1:  # a key ends here, and its value is the next unit
                start = units[node] & 0x7FFFFFFF
                return self._replacements[start : self._replacements.index(0, start)].decode()
        return None


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 1 << 9) >> 6)


def _clusters(text: str) -> Iterator[str]:
    """Characters with the marks that extend them: what a reader sees as one character."""
    cluster = ""
    for char in text:
        if cluster and _extends(char) and unicodedata.category(cluster[0]) != "Cc":
            cluster += char
            continue
        if cluster:
            yield cluster
        cluster = char
    if cluster:
        yield cluster


@lru_cache(maxsize=8192)
def _extends(char: str) -> bool:
    return char > "\u02ff" and (char in _EXTENDERS or unicodedata.category(char) in {"Mn", "Me", "Mc"})


def normalizer(spec: Spec | None) -> Normalizer:
    """The normalizer that a `tokenizer.json` asks for.

    Args:
        spec: its entry `normalizer`.

    Raises:
        WeightsError: the kind is not supported.
    """
    if spec is None:
        return str
    kind = spec["type"]
    if kind == "Sequence":
        return partial(_in_turn, [normalizer(part) for part in spec["normalizers"]])
    if kind in ("NFC", "NFD", "NFKC", "NFKD"):
        return partial(unicodedata.normalize, kind)
    if kind == "Lowercase":
        return str.lower
    if kind == "Strip":
        return partial(_strip, left=spec["strip_left"], right=spec["strip_right"])
    if kind == "Prepend":
        return lambda text: spec["prepend"] + text if text else text
    if kind == "Replace":
        return partial(_pattern(spec["pattern"]).sub, lambda _: str(spec["content"]))
    if kind == "Precompiled":
        table = spec["precompiled_charsmap"]
        return CharsMap(base64.b64decode(table)) if table else str
    known = "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Precompiled"
    raise WeightsError(f"the tokenizer's normalizer is {kind!r}; supported are {known}")


def pre_tokenizer(spec: Spec | None) -> PreTokenizer:
    """The pre-tokenizer that a `tokenizer.json` asks for.

    Args:
        spec: its entry `pre_tokenizer`.

    Raises:
        WeightsError: the kind is not supported.
    """
    if spec is None:
        return lambda words, opens: words
    kind = spec["type"]
    if kind == "Sequence":
        parts = [pre_tokenizer(part) for part in spec["pretokenizers"]]
        return lambda words, opens: _apply_all(parts, words, opens)
    if kind == "Metaspace":
        return partial(_metaspace, spec)
    if kind == "WhitespaceSplit":
        return lambda words, opens: [part for word in words for part in word.split()]
    if kind == "Punctuation" and spec.get("behavior", "Isolated") in ("Isolated", "Removed"):
        return partial(_punctuation, spec.get("behavior") == "Removed")
    known = "Sequence, Metaspace, WhitespaceSplit, Punctuation (isolated or removed)"
    raise WeightsError(f"the tokenizer's pre_tokenizer is {dict(spec)}; supported are {known}")


def is_punctuation(char: str) -> bool:
    """Whether a character is punctuation: all of ASCII's, symbols included, and Unicode's category P."""
    ascii_mark = char.isascii() and char.isprintable() and not char.isalnum() and char != " "
    return ascii_mark or unicodedata.category(char).startswith("P")


def _in_turn(parts: list[Normalizer], text: str) -> str:
    for part in parts:
        text = part(text)
    return text


def _apply_all(parts: list[PreTokenizer], words: list[str], opens: bool) -> list[str]:
    for part in parts:
        words = part(words, opens)
    return words


def _strip(text: str, *, left: bool, right: bool) -> str:
    text = text.lstrip() if left else text
    return text.rstrip() if right else text


def _pattern(spec: Spec) -> re.Pattern[str]:
    return re.compile(spec["Regex"] if "Regex" in spec else re.escape(spec["String"]))


def _metaspace(spec: Spec, words: list[str], opens: bool) -> list[str]:
    mark = spec.get("replacement", "▁")
    scheme = spec.get("prepend_scheme") or ("always" if spec.get("add_prefix_space", True) else "never")
    out: list[str] = []
    for number, word in enumerate(words):
        word = word.replace(" ", mark)
        wanted = scheme == "always" or (scheme == "first" and opens and number == 0)
        if wanted and word and not word.startswith(mark):
            word = mark + word
        starts = [i for i, char in enumerate(word) if char == mark] if spec.get("split", True) else []
        edges = sorted({0, *starts, len(word)})
        out += [word[a:b] for a, b in pairwise(edges)]
    return out


def _punctuation(removed: bool, words: list[str], opens: bool) -> list[str]:
    out: list[str] = []
    for word in words:
        run = ""
        for char in word:
            if not is_punctuation(char):
                run += char
                continue
            out += [run] if run else []
            out += [] if removed else [char]
            run = ""
        out += [run] if run else []
    return out
