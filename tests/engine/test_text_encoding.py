"""The text encoder loads when a new prompt needs it; embeddings survive the process."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from parity import DATA

from longlive_env.engine import text_encoding
from longlive_env.engine.config import TextEncoderConfig
from longlive_env.engine.text_encoder import UMT5Encoder
from longlive_env.engine.text_encoding import EmbeddingStore, TextEncoding, store_folder
from longlive_env.engine.tokenizer import Tokenizer, spelling_tokenizer
from longlive_env.engine.world import World

CPU = torch.device("cpu")
LENGTH = 16
TOKENIZER = Tokenizer(spelling_tokenizer(60))


class Loader:
    """Loads the same encoder every time, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> UMT5Encoder:
        self.calls += 1
        torch.manual_seed(0)
        config = TextEncoderConfig(vocab_size=64, dim=8, ffn_dim=16, heads=2, head_dim=4, layers=1)
        return UMT5Encoder(config).eval().requires_grad_(False)


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "store")


def embed(encoding: TextEncoding, *prompts: str) -> torch.Tensor:
    return encoding.embed(TOKENIZER, prompts, LENGTH, CPU)


def test_the_encoder_loads_on_the_first_new_prompt(store: EmbeddingStore) -> None:
    loader = Loader()
    encoding = TextEncoding(loader, store=store)
    assert encoding.present and not encoding.loaded and loader.calls == 0
    want = embed(encoding, "a cat", "dog")
    assert encoding.loaded and loader.calls == 1
    direct = TextEncoding(Loader()())
    assert torch.equal(embed(direct, "a cat", "dog"), want)


@pytest.mark.parametrize("freed", [False, True])
def test_known_prompts_need_no_encoder_in_another_process(store: EmbeddingStore, freed: bool) -> None:
    want = embed(TextEncoding(Loader(), store=store), "a cat", "dog")
    loader = Loader()
    encoding = TextEncoding(loader, store, freed=freed)
    assert torch.equal(embed(encoding, " a   cat ", "dog"), want)  # cleaned before it is looked up
    assert loader.calls == 0
    embed(encoding, "a cat", "new", "newer")
    assert loader.calls == 1 and encoding.loaded is not freed
    embed(encoding, "newest")
    assert loader.calls == (2 if freed else 1)


def test_the_prompts_used_last_stay_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoding, "KEPT_IN_MEMORY", 2)
    loader = Loader()
    encoding = TextEncoding(loader, freed=True)
    for prompts, loads in ((("a", "b"), 1), (("a",), 1), (("c",), 2), (("a",), 2), (("b",), 3)):
        embed(encoding, *prompts)
        assert loader.calls == loads


def test_autocast_changes_no_embedding() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = embed(TextEncoding(Loader()), "a cat")
    assert torch.equal(found, embed(TextEncoding(Loader()), "a cat"))


def test_an_embedding_kept_for_longer_prompts_is_not_cut(store: EmbeddingStore) -> None:
    embed(TextEncoding(Loader(), store=store), "a cat")
    shorter = [
        one.embed(TOKENIZER, ["a cat"], 3, CPU)
        for one in (TextEncoding(Loader()), TextEncoding(Loader(), store=store))
    ]
    assert torch.equal(*shorter)


def test_two_threads_may_encode_at_once(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoding, "KEPT_IN_MEMORY", 1)
    want = embed(TextEncoding(Loader()), "a cat", "dog")
    encoding = TextEncoding(Loader(), store=store)
    look_up = store.get

    def while_another_thread_encodes(prompt: str) -> torch.Tensor | None:
        if prompt == "dog":
            other = threading.Thread(target=embed, args=(encoding, "bird", "fish"))
            other.start()
            other.join()
        return look_up(prompt)

    monkeypatch.setattr(store, "get", while_another_thread_encodes)
    assert torch.equal(embed(encoding, "a cat", "dog"), want)


def test_a_damaged_entry_is_computed_again(store: EmbeddingStore) -> None:
    want = embed(TextEncoding(Loader(), store=store), "a cat")
    (file,) = store.folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    loader = Loader()
    assert torch.equal(embed(TextEncoding(loader, store=store), "a cat"), want)
    assert loader.calls == 1 and file.read_bytes() == whole


def test_the_store_keeps_the_newest(store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoding, "KEPT_ON_DISK", 3)
    for number, prompt in enumerate("abcd"):
        store.put(prompt, torch.full((2, 8), float(number)))
        assert store.get("a") is not None  # which makes it the newest
    assert store.get("b") is None
    assert [store.get(prompt)[0, 0].item() for prompt in "acd"] == [0, 2, 3]
    assert len(list(store.folder.iterdir())) == 3


def test_a_store_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    encoding = TextEncoding(Loader(), store=EmbeddingStore(tmp_path / "file" / "store"))
    assert embed(encoding, "a cat").shape == (1, LENGTH, 8)
    assert "not kept" in caplog.text


def test_a_full_disk_is_no_error(
    store: EmbeddingStore, full_at: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    full_at(1 << 16)
    store.put("a cat", torch.ones(1 << 10, 1 << 8))
    assert "not kept" in caplog.text and not list(store.folder.iterdir())
    store.put("a cat", torch.ones(2, 8))
    assert store.get("a cat") is not None


def test_no_tensor_of_the_device_is_read() -> None:
    """Tensors without data cannot be; on CUDA the host would wait for all that was issued before."""
    meta = torch.device("meta")
    got = TextEncoding(Loader()().to(meta)).embed(TOKENIZER, ["a cat"], LENGTH, meta)
    assert got.is_meta and got.shape == (1, LENGTH, 8)


def test_a_store_that_can_only_be_read_is_read(
    store: EmbeddingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = embed(TextEncoding(Loader(), store=store), "a cat")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    loader = Loader()
    assert torch.equal(embed(TextEncoding(loader, store=store), "a cat"), want) and loader.calls == 0


def test_what_changes_an_embedding_changes_its_place(tmp_path: Path) -> None:
    cuda = torch.device("cuda")
    places = {
        store_folder(tmp_path, "s", torch.bfloat16, CPU),
        store_folder(tmp_path, "t", torch.bfloat16, CPU),
        store_folder(tmp_path, "s", torch.float32, CPU),
        store_folder(tmp_path, "s", torch.bfloat16, cuda),
    }
    assert len(places) == 4
    assert store_folder(tmp_path, "s", torch.bfloat16, cuda) == store_folder(
        tmp_path, "s", torch.bfloat16, torch.device("cuda", 1)
    )


def test_a_published_world_reads_its_encoder_for_new_prompts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGLIVE_HOME", str(tmp_path))
    first = World.load(DATA / "mini")
    want = first.encode_prompt(["a red robot"])
    assert first.text_encoding.loaded and want.shape == (1, 512, 40)
    second = World.load(DATA / "mini")
    assert torch.equal(second.encode_prompt(["a red robot"]), want) and not second.text_encoding.loaded
    other = World.load(DATA / "mini", dtype=torch.bfloat16)
    assert other.encode_prompt(["a red robot"]).dtype == torch.bfloat16 and other.text_encoding.loaded
