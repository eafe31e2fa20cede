"""The Unigram model of a tokenizer: the likeliest split of a word into known pieces."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

_UNKNOWN_PENALTY = 10.0  # below the worst piece; the value that the published tokenizers were made with
_CACHED_WORDS = 8192


class Unigram:
    """Pieces with log-probabilities.

    Args:
        vocab: pieces and their scores; the position is the token id.
        unknown_id: id of text that no piece covers.
        byte_fallback: whether to spell such text with pieces like `<0x0A>`, one per byte, if there are any.
    """

    def __init__(
        self, vocab: Sequence[tuple[str, float]], unknown_id: int, byte_fallback: bool = False
    ) -> None:
        self.unknown_id = unknown_id
        self.byte_fallback = byte_fallback
        self._ids = {piece: number for number, (piece, _) in enumerate(vocab)}
        self._scores = [score for _, score in vocab]
        self._longest = max(map(len, self._ids), default=0)
        self._unknown_score = min(self._scores, default=0.0) - _UNKNOWN_PENALTY
        self.ids = lru_cache(maxsize=_CACHED_WORDS)(self._tokenize)

    def id_of(self, piece: str) -> int | None:
        """Token id of a piece, or None."""
        return self._ids.get(piece)

    def _tokenize(self, text: str) -> tuple[int, ...]:
        out: list[int] = []
        for piece in self.split(text):
            number = self._ids.get(piece)
            out += [number] if number is not None else self._spell(piece)
        return tuple(out)

    def _spell(self, piece: str) -> list[int]:
        if self.byte_fallback:
            numbers = [self._ids.get(f"<0x{byte:02X}>") for byte in piece.encode()]
            known = [number for number in numbers if number is not None]
            if len(known) == len(numbers):
                return known
        return [self.unknown_id]

    def split(self, text: str) -> list[str]:
        """The split of highest total score; neighbouring unknown characters form one part.

        Args:
            text: any text, without further preparation.

        Returns:
            Parts that join to `text`.
        """
        length = len(text)
        # For each end: the best score so far, where its last piece starts, and whether that is known.
        best: list[tuple[float, int, bool]] = [(0.0, 0, True)] + [(float("-inf"), -1, False)] * length
        ids, scores = self._ids, self._scores
        for start in range(length):
            score_here = best[start][0]
            if text[start : start + 1] not in ids:
                score = score_here + self._unknown_score
                if score > best[start + 1][0]:
                    best[start + 1] = (score, start, False)
            for end in range(start + 1, min(length, start + self._longest) + 1):
                number = ids.get(text[start:end])
                if number is not None:
                    score = score_here + scores[number]
                    if score > best[end][0]:
                        best[end] = (score, start, True)
        return _walk_back(text, best)


def _walk_back(text: str, best: list[tuple[float, int, bool]]) -> list[str]:
    parts: list[str] = []
    end, after_unknown = len(text), False
    while end > 0:
        _, start, known = best[end]
        if not known and after_unknown:
            parts[-1] = text[start:end] + parts[-1]
        else:
            parts.append(text[start:end])
        end, after_unknown = start, not known
    return parts[::-1]
