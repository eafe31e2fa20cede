import pytest
from hypothesis import given
from hypothesis import strategies as st

from longlive_env.engine.normalizer import CharsMap, is_punctuation, normalizer, pre_tokenizer
from longlive_env.errors import WeightsError


@pytest.mark.parametrize(
    ("spec", "text", "want"),
    [
        (None, "Ａ ﬁ", "Ａ ﬁ"),
        ({"type": "NFKC"}, "Ａ ﬁ", "A fi"),
        ({"type": "Lowercase"}, "A Red ÄRA", "a red ära"),
        ({"type": "Strip", "strip_left": True, "strip_right": False}, "  a  ", "a  "),
        ({"type": "Prepend", "prepend": "_"}, "a", "_a"),
        ({"type": "Prepend", "prepend": "_"}, "", ""),
        ({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, "a   b", "a b"),
        ({"type": "Replace", "pattern": {"String": "."}, "content": "\\1"}, "a.b", "a\\1b"),
        ({"type": "Precompiled", "precompiled_charsmap": ""}, "ﬁ", "ﬁ"),
        ({"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]}, "Ａ", "a"),
    ],
)
def test_normalizers(spec: dict | None, text: str, want: str) -> None:
    assert normalizer(spec)(text) == want


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


@pytest.mark.parametrize(
    ("spec", "text", "want"),
    [
        (None, "a b", ["a b"]),
        (METASPACE, "a bc  d", ["▁a", "▁bc", "▁", "▁d"]),
        (METASPACE, " a", ["▁a"]),
        (METASPACE, "", []),
        ({**METASPACE, "split": False}, "a b", ["▁a▁b"]),
        ({**METASPACE, "prepend_scheme": "never"}, "a b", ["a", "▁b"]),
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, "a", ["▁a"]),
        ({"type": "Metaspace", "replacement": "▁", "add_prefix_space": False}, "a", ["a"]),
        ({"type": "WhitespaceSplit"}, " a  b ", ["a", "b"]),
        ({"type": "Punctuation"}, "a,b!?", ["a", ",", "b", "!", "?"]),
        ({"type": "Punctuation", "behavior": "Removed"}, "a,b!?", ["a", "b"]),
        (
            {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, METASPACE]},
            "a b",
            ["▁a", "▁b"],
        ),
    ],
)
def test_pre_tokenizers(spec: dict | None, text: str, want: list[str]) -> None:
    assert pre_tokenizer(spec)([text], True) == want


def test_the_first_scheme_marks_only_what_opens_the_text() -> None:
    spec = {**METASPACE, "prepend_scheme": "first"}
    assert pre_tokenizer(spec)(["a", "b"], True) == ["▁a", "b"]
    assert pre_tokenizer(spec)(["a"], False) == ["a"]


@pytest.mark.parametrize("build", [normalizer, pre_tokenizer])
def test_unsupported_kinds_are_named(build) -> None:
    with pytest.raises(WeightsError, match=r"Bert.*supported are Sequence"):
        build({"type": "Bert"})


@given(st.characters())
def test_letters_digits_and_spaces_are_no_punctuation(char: str) -> None:
    if char.isalnum() or char.isspace():
        assert not is_punctuation(char)
    if char.isascii() and char.isprintable() and not char.isalnum() and char != " ":
        assert is_punctuation(char)


def test_a_damaged_replacement_table_is_named() -> None:
    with pytest.raises(WeightsError, match="has 6 bytes but announces a trie of 64"):
        CharsMap(b"\x40\x00\x00\x00ab")
