import builtins
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from parity import DATA
from safetensors.torch import load_file

from longlive_env.engine.tokenizer import Tokenizer, clean_prompt, spelling_tokenizer, whole_word_tokenizer
from longlive_env.errors import MissingExtraError, PromptError, WeightsError

MINI = DATA / "mini" / "Wan2.1-T2V-1.3B" / "google" / "umt5-xxl"
OTHER = Path(__file__).parents[1] / "data" / "tokenizer"


def test_recorded_ids_are_reproduced() -> None:
    case = load_file(DATA / "cases" / "tokenizer.safetensors")
    texts = json.loads((DATA / "cases" / "tokenizer_texts.json").read_text())
    ids, mask = Tokenizer.load(MINI)(texts, 512)
    assert torch.equal(ids, case["ids"]) and torch.equal(mask, case["mask"])


def test_a_replacement_table_and_byte_fallback_give_the_recorded_ids() -> None:
    """Ids that Hugging Face's tokenizers 0.23 gave for a SentencePiece model with rules of its own."""
    tokenizer = Tokenizer.load(OTHER / "byte_fallback.json")
    for entry in json.loads((OTHER / "byte_fallback_encoded.json").read_text()):
        assert [*tokenizer.encode(entry["text"]), 1] == entry["ids"], entry["text"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("  a   red\trobot \n walks ", "a red robot walks"),
        ("a &amp;amp; b &lt;3", "a & b <3"),
        ("mojibake: âœ” schÃ¶n", "mojibake: ✔ schön"),
        ("ﬁre Ａ", "fire A"),
        ("“quoted”", '"quoted"'),
        ("a\u3000b\u00a0c", "a b c"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_prompts_are_cleaned(text: str, want: str) -> None:
    assert clean_prompt(text) == want


@given(st.text(st.characters(max_codepoint=0x7E, exclude_characters="&\x7f")))
def test_plain_ascii_needs_no_ftfy_and_would_not_change_by_it(text: str) -> None:
    import html

    import ftfy

    want = " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
    assert clean_prompt(text) == want


def test_without_ftfy_plain_prompts_work_and_others_say_what_is_missing(monkeypatch) -> None:
    real = builtins.__import__

    def without_ftfy(name: str, *args, **kwargs):
        if name == "ftfy":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_ftfy)
    assert clean_prompt(" a red\nrobot; it's 5 o'clock! ") == "a red robot; it's 5 o'clock!"
    with pytest.raises(MissingExtraError, match=r"'ö'.*pip install ftfy"):
        clean_prompt("schön")
    with pytest.raises(MissingExtraError, match="'&'"):
        clean_prompt("a & b")


def test_prompts_must_be_text() -> None:
    with pytest.raises(PromptError, match="must be text, not int"):
        clean_prompt(3)  # type: ignore[arg-type]


def test_long_prompts_are_cut_before_the_end_token() -> None:
    tokenizer = Tokenizer.load(MINI)
    ids, mask = tokenizer(["a red robot " * 300, ""], 16)
    assert ids[0, -1] == 1 and mask[0].all()
    assert ids[1].tolist() == [1] + [0] * 15 and mask[1].sum() == 1


def test_special_tokens_in_a_prompt_are_themselves() -> None:
    assert Tokenizer.load(MINI).encode("</s>") == [1]


@pytest.fixture
def words() -> Tokenizer:
    return Tokenizer(whole_word_tokenizer(["Red", "robot", "a", "walks", "red"]))


def test_whole_words_ignore_case_and_keep_marks(words: Tokenizer) -> None:
    assert len(words.spec["model"]["vocab"]) == 11
    assert words.encode("A RED robot, walks.") == words.encode("a red Robot, walks.") == [7, 8, 9, 5, 10, 6]
    assert words.encode("robot") == [9] and words.encode("robots") != [9]


def test_unknown_words_are_named_once_as_they_are_spelled(words: Tokenizer) -> None:
    prompt = 'A red Robto, a "GREEN" robot walks; robto walks! Robto -- 5'
    assert words.unknown_words(prompt) == ["Robto", "GREEN", "robto", "5"]
    assert words.unknown_words("a red robot, walks!") == []
    assert words.unknown_words("") == []
    assert Tokenizer.load(OTHER / "byte_fallback.json").unknown_words("🦙 zebra ẞ") == []


def test_every_ascii_prompt_can_be_spelled() -> None:
    tokenizer = Tokenizer(spelling_tokenizer(1024))
    assert tokenizer.unknown_words("A red robot: 12 o'clock!") == []
    assert len(spelling_tokenizer(20)["model"]["vocab"]) == 20


def test_saving_and_loading_keeps_the_tokenizer(words: Tokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path)
    assert again.spec == words.spec
    assert torch.equal(again(["a red zebra"], 8)[0], words(["a red zebra"], 8)[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("{", "not valid JSON"),
        ("[]", "holds a list; expected a tokenizer"),
        ("{}", "not a complete tokenizer: KeyError\\('model'\\)"),
        ('{"model": {"type": "BPE"}}', "model is 'BPE'; supported is 'Unigram'"),
        (
            '{"model": {"type": "Unigram", "unk_id": 0, "vocab": []}, "post_processor": {"type": "Bert"}}',
            "post_processor is 'Bert'",
        ),
        ('{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a"]]}}', "not a complete tokenizer: Value"),
        (
            '{"model": {"type": "Unigram", "unk_id": 0, "vocab": []}, '
            '"normalizer": {"type": "Precompiled", "precompiled_charsmap": "a"}}',
            "not a complete tokenizer: Error\\('Invalid base64",
        ),
        (
            '{"model": {"type": "Unigram", "unk_id": 0, "vocab": []}, '
            '"normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}}',
            "not a complete tokenizer: .*rror\\('missing",
        ),
    ],
)
def test_bad_files_are_named(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(WeightsError, match=message):
        Tokenizer.load(file)
