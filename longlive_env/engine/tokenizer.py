"""Prompts to token ids: prompt cleaning, and tokenizers read from a `tokenizer.json` of the Unigram kind."""

from __future__ import annotations

import html
import json
import re
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from longlive_env.engine.normalizer import is_punctuation, normalizer, pre_tokenizer
from longlive_env.engine.unigram import Unigram
from longlive_env.engine.weights import read_json
from longlive_env.engine.whole_files import write_whole
from longlive_env.errors import MissingExtraError, PromptError, WeightsError

# Text in which cleaning only changes white space: printable ASCII without `&`, tabs and line ends.
_PLAIN = re.compile(r"[\t\n\r\x20-\x25\x27-\x7e]*")


_SPECIAL = ("<pad>", "</s>", "<s>", "<unk>")


def clean_prompt(text: str) -> str:
    """Repair and tidy a prompt as the published text encoders expect it.

    Broken encodings are fixed (by ftfy), HTML entities are unescaped twice, white space is collapsed.

    Args:
        text: any prompt.

    Returns:
        The clean prompt; it may be empty.

    Raises:
        PromptError: `text` is not a string.
        MissingExtraError: the prompt goes beyond plain ASCII and ftfy is not installed.
    """
    _check_type(text)
    if not _PLAIN.fullmatch(text):
        try:
            import ftfy  # only such prompts need it
        except ImportError as error:
            strange = next(char for char in text if not _PLAIN.fullmatch(char))
            raise MissingExtraError(
                f"the prompt holds {strange!r}, which needs ftfy to be cleaned; run: pip install ftfy"
            ) from error
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split())


def _check_type(prompt: object) -> None:
    if not isinstance(prompt, str):
        raise PromptError(f"a prompt must be text, not {type(prompt).__name__} ({prompt!r})")


def prompt_list(prompt: str | Sequence[str]) -> list[str]:
    """One prompt, or several, as a list.

    Raises:
        PromptError: `prompt` is neither, or one of the prompts is not text.
    """
    if isinstance(prompt, str):
        return [prompt]
    try:
        prompts = list(prompt)
    except TypeError:
        what = f"{prompt!r} ({type(prompt).__name__})"
        raise PromptError(f"the prompt is {what}; give a text, or a list with one for each world") from None
    for one in prompts:
        _check_type(one)
    return prompts


def whole_word_tokenizer(words: Iterable[str], marks: Iterable[str] = (",", ".")) -> dict[str, Any]:
    """The `tokenizer.json` of a small world whose pieces are whole lower-case words.

    Args:
        words: the vocabulary; case and repeats do not matter.
        marks: punctuation marks that are pieces of their own wherever they occur.

    Returns:
        The file's content; ids are 0 pad, 1 end, 2 start, 3 unknown, 4 space, then marks and words, sorted.
    """
    return _lower_case_unigram([*sorted(set(marks)), *sorted({"▁" + word.lower() for word in words})])


def spelling_tokenizer(vocab_size: int) -> dict[str, Any]:
    """A `tokenizer.json` for worlds without a vocabulary: at most `vocab_size` single-character pieces."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    return _lower_case_unigram(list(letters[: vocab_size - len(_SPECIAL) - 1]))


def _lower_case_unigram(pieces: list[str]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    isolated = {"type": "Punctuation", "behavior": "Isolated"}
    end = {"id": "</s>", "type_id": 0}
    return {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": piece, **flags} for number, piece in enumerate(_SPECIAL)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
                isolated,
            ],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": end}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "model": {
            "type": "Unigram",
            "unk_id": 3,
            "vocab": [*([piece, 0.0] for piece in _SPECIAL), *([piece, -1.0] for piece in ["▁", *pieces])],
            "byte_fallback": False,
        },
    }


class Tokenizer:
    """A tokenizer as a `tokenizer.json` describes it.

    Args:
        spec: the file's content.
        source: where it comes from, for messages.

    Raises:
        WeightsError: `spec` asks for something unsupported, or lacks an entry.
    """

    def __init__(self, spec: dict[str, Any], source: str = "tokenizer.json") -> None:
        self.spec = spec
        try:
            self._build(spec)
        except (KeyError, TypeError, IndexError, ValueError, re.error) as error:
            raise WeightsError(
                f"{source} is not a complete tokenizer: {error!r}; get the file again"
            ) from error

    def _build(self, spec: dict[str, Any]) -> None:
        model = spec["model"]
        if model["type"] != "Unigram":
            raise WeightsError(f"the tokenizer's model is {model['type']!r}; supported is 'Unigram'")
        self._model = Unigram(model["vocab"], model["unk_id"], model.get("byte_fallback", False))
        self._normalize = normalizer(spec.get("normalizer"))
        self._pre_tokenize = pre_tokenizer(spec.get("pre_tokenizer"))
        added = {token["content"]: token["id"] for token in spec.get("added_tokens", ())}
        self._added = added
        spelled = sorted(added, key=len, reverse=True)
        self._added_pattern = re.compile("(" + "|".join(map(re.escape, spelled)) + ")") if added else None
        self._before, self._after = _template(spec.get("post_processor"))
        pad = added.get("<pad>", self._model.id_of("<pad>"))
        self.pad_id: int = 0 if pad is None else pad
        self.unknown_id = self._model.unknown_id

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read a `tokenizer.json`, or the one in a folder.

        Raises:
            WeightsError: it is missing, damaged or not supported.
        """
        file = Path(path)
        file = file / "tokenizer.json" if file.is_dir() else file
        spec = read_json(file)
        if not isinstance(spec, dict):
            raise WeightsError(f"{file} holds a {type(spec).__name__}; expected a tokenizer")
        return cls(spec, str(file))

    def save(self, path: str | Path) -> None:
        """Write the `tokenizer.json`."""
        write_whole(Path(path), json.dumps(self.spec, ensure_ascii=False))

    def __call__(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        """Clean, tokenize, cut and pad prompts.

        Args:
            texts: prompts as people write them.
            length: L, the number of tokens to cut or pad to.

        Returns:
            Token ids [B, L] and mask [B, L] (1 for tokens, 0 for padding), both int64.

        Raises:
            PromptError: a prompt is not a string.
        """
        room = length - len(self._before) - len(self._after)
        ids = torch.full((len(texts), length), self.pad_id, dtype=torch.int64)
        mask = torch.zeros(len(texts), length, dtype=torch.int64)
        for row, text in enumerate(texts):
            tokens = [*self._before, *self.encode(clean_prompt(text))[:room], *self._after]
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
            mask[row, : len(tokens)] = 1
        return ids, mask

    def check_length(self, prompt: str, limit: int, world: str) -> None:
        """Check that a prompt fits the token limit of the world of that name.

        Raises:
            PromptError: the prompt has more than `limit` tokens.
        """
        if int(self([prompt], limit + 1)[1].sum()) > limit:
            raise PromptError(
                f"the prompt {prompt[:60]!r}... is longer than the {limit} tokens that world {world!r} "
                "reads; shorten it"
            )

    def encode(self, text: str) -> list[int]:
        """Token ids of a clean text, without the tokens that frame a prompt."""
        out: list[int] = []
        parts = self._added_pattern.split(text) if self._added_pattern else [text]
        for number, part in enumerate(parts):
            if number % 2:  # what the pattern matched
                out.append(self._added[part])
            elif part:
                for word in self._pre_tokenize([self._normalize(part)], number == 0):
                    out += self._model.ids(word)
        return out

    def unknown_words(self, text: str) -> list[str]:
        """The words of a prompt that the vocabulary does not cover, each once, as the prompt spells them."""
        found: dict[str, None] = {}
        for word in clean_prompt(text).split():
            core = _without_marks(word)
            if core and self.unknown_id in self.encode(core):
                found[core] = None
        return list(found)


def _without_marks(word: str) -> str:
    inside = [number for number, char in enumerate(word) if not is_punctuation(char)]
    return word[inside[0] : inside[-1] + 1] if inside else ""


def _template(spec: dict[str, Any] | None) -> tuple[list[int], list[int]]:
    """Ids of the special tokens before and after a prompt."""
    if spec is None:
        return [], []
    if spec["type"] != "TemplateProcessing":
        raise WeightsError(
            f"the tokenizer's post_processor is {spec['type']!r}; supported is 'TemplateProcessing'"
        )
    before: list[int] = []
    after: list[int] = []
    side = before
    for item in spec["single"]:
        if "Sequence" in item:
            side = after
        else:
            side += spec["special_tokens"][item["SpecialToken"]["id"]]["ids"]
    return before, after
