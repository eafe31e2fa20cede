import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from longlive_env.engine.unigram import Unigram

LETTERS = "abc"
VOCABS = st.dictionaries(
    st.text(LETTERS, min_size=1, max_size=3), st.floats(-9, -0.5), min_size=1, max_size=8
).map(lambda scores: list(scores.items()))


def all_splits(text: str) -> list[list[str]]:
    edges = [itertools.combinations(range(1, len(text)), count) for count in range(len(text))]
    return [
        [text[a:b] for a, b in itertools.pairwise((0, *inner, len(text)))]
        for inner in itertools.chain.from_iterable(edges)
    ]


@given(vocab=VOCABS, text=st.text(LETTERS, min_size=1, max_size=7))
def test_the_split_is_the_likeliest_of_all(vocab: list[tuple[str, float]], text: str) -> None:
    scores, unknown = dict(vocab), min(score for _, score in vocab) - 10

    def total(split: list[str]) -> float:
        # An unknown character is a part of its own; one that is a piece is never unknown.
        return sum(
            scores.get(part, unknown if len(part) == 1 and part not in scores else -math.inf)
            for part in split
        )

    model = Unigram([("<unk>", 0.0), *vocab], unknown_id=0)
    model_unknown = min(0.0, *scores.values()) - 10
    assert model_unknown == unknown
    got = model.split(text)
    assert "".join(got) == text
    fused = [list(part) if part not in scores else [part] for part in got]
    flat = [one for parts in fused for one in parts]
    assert math.isclose(total(flat), max(map(total, all_splits(text))), rel_tol=1e-9)


def test_neighbouring_unknown_characters_become_one_token() -> None:
    model = Unigram([("<unk>", 0.0), ("a", -1.0), ("b", -1.0)], unknown_id=0)
    assert model.split("axyzb") == ["a", "xyz", "b"]
    assert model.ids("axyzb") == (1, 0, 2)


def test_unknown_text_is_spelled_in_bytes_where_all_bytes_are_pieces() -> None:
    vocab = [("<unk>", 0.0), ("a", -1.0), ("<0xC3>", 0.0), ("<0xA9>", 0.0)]
    assert Unigram(vocab, unknown_id=0, byte_fallback=True).ids("aé") == (1, 2, 3)
    assert Unigram(vocab, unknown_id=0, byte_fallback=True).ids("aü") == (1, 0)  # no piece for 0xBC
    assert Unigram(vocab, unknown_id=0).ids("aé") == (1, 0)


def test_no_text_has_no_tokens() -> None:
    assert Unigram([("<unk>", 0.0)], unknown_id=0).ids("") == ()
