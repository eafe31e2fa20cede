import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from parity import DATA

from longlive_env.engine import published, weights
from longlive_env.engine.weights import read_state, read_tensors
from longlive_env.errors import WeightsError

MINI = DATA / "mini"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(MINI, tmp_path / "mini")
    return tmp_path / "mini"


def test_sizes_come_from_the_checkpoints() -> None:
    transformer = published.load_transformer(MINI, "cpu", torch.float32).config
    assert (transformer.dim, transformer.layers, transformer.text_dim, transformer.text_len) == (
        64,
        3,
        40,
        512,
    )
    encoder = published.load_text_encoder(MINI, "cpu", torch.float32).config
    assert (encoder.vocab_size, encoder.dim, encoder.heads, encoder.head_dim, encoder.layers) == (
        300,
        40,
        4,
        8,
        2,
    )


def test_the_tuned_generator_differs_from_the_base_and_by_the_lora() -> None:
    folder = MINI / published.WAN_FOLDER
    base = published.load_wan_transformer(folder, "cpu", torch.float32).head.head.weight
    plain = published.load_transformer(MINI, "cpu", torch.float32, lora=False)
    tuned = published.load_transformer(MINI, "cpu", torch.float32)
    assert not torch.equal(base, plain.head.head.weight)
    assert torch.equal(plain.head.head.weight, tuned.head.head.weight)
    assert not torch.equal(plain.blocks[0].ffn[0].weight, tuned.blocks[0].ffn[0].weight)


def test_a_file_with_the_ema_alone_will_do_and_is_read_through_its_wrappers(copy: Path) -> None:
    file = copy / published.GENERATOR_FILE
    raw = torch.load(file, weights_only=True)["generator_ema"]
    torch.save({"generator_ema": raw}, file)
    ema = published.load_transformer(copy, "cpu", torch.float32, lora=False)
    assert torch.equal(ema.head.head.weight, raw["model._fsdp_wrapped_module.head.head.weight"])
    torch.save({"critic": {}}, file)
    expected = "no entry 'generator' or 'generator_ema' or 'model'; it has critic"
    with pytest.raises(WeightsError, match=expected):
        published.load_transformer(copy, "cpu", torch.float32)


def test_checkpoints_of_ones_own_training_are_read_too(copy: Path) -> None:
    """LongLive takes an entry "model", and adapters without an entry."""
    tuned = published.load_transformer(copy, "cpu", torch.float32).state_dict()
    file, lora = copy / published.GENERATOR_FILE, copy / published.LORA_FILE
    torch.save({"model": torch.load(file, weights_only=True)["generator"]}, file)
    torch.save(torch.load(lora, weights_only=True)["generator_lora"], lora)
    again = published.load_transformer(copy, "cpu", torch.float32).state_dict()
    assert all(torch.equal(again[name], value) for name, value in tuned.items())


def test_the_published_lora_has_more_entries(copy: Path) -> None:
    """LongLive's training also saves the critic's adapters and a step, and tensors may be parameters."""
    tuned = published.load_transformer(copy, "cpu", torch.float32).state_dict()
    lora = copy / published.LORA_FILE
    own = torch.load(lora, weights_only=True)["generator_lora"]
    parameters = {name: torch.nn.Parameter(value) for name, value in own.items()}
    critic = {name: torch.zeros_like(value) for name, value in own.items()}
    torch.save({"critic_lora": critic, "generator_lora": parameters, "step": 3000}, lora)
    again = published.load_transformer(copy, "cpu", torch.float32).state_dict()
    assert all(torch.equal(again[name], value) for name, value in tuned.items())


def test_each_file_of_the_generator_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def watched(path: Path) -> dict[str, Any]:
        read.append(path.name)
        return read_tensors(path)

    monkeypatch.setattr(published, "read_tensors", watched)
    monkeypatch.setattr(weights, "read_tensors", watched)
    published.load_transformer(MINI, "cpu", torch.float32)
    assert read == [published.GENERATOR_FILE.name, published.LORA_FILE.name]


LOADERS = {
    published.GENERATOR_FILE: lambda root: published.load_transformer(root, "cpu", torch.float32),
    published.LORA_FILE: lambda root: published.load_transformer(root, "cpu", torch.float32),
    published.TRANSFORMER_CONFIG_FILE: lambda root: published.load_transformer(root, "cpu", torch.float32),
    published.TEXT_ENCODER_FILE: lambda root: published.load_text_encoder(root, "cpu", torch.float32),
    published.TOKENIZER_FILE: published.load_tokenizer,
    published.WAN_VAE_FILE: lambda root: published.load_codec(root, "wan", "cpu", torch.float32),
    published.LIGHT_VAE_FILE: lambda root: published.load_codec(root, "light", "cpu", torch.float32),
}


@pytest.mark.parametrize("file", LOADERS, ids=str)
def test_a_missing_file_is_named_with_the_command_that_gets_it(file: Path, copy: Path) -> None:
    (copy / file).unlink()
    with pytest.raises(WeightsError, match=rf"{file} is missing; .*longlive download 1.3b"):
        LOADERS[file](copy)


@pytest.mark.parametrize("file", LOADERS, ids=str)
def test_a_truncated_file_is_named(file: Path, copy: Path) -> None:
    content = (copy / file).read_bytes()
    (copy / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match=str(file)):
        LOADERS[file](copy)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (published.TEXT_ENCODER_FILE, "blocks.1.ffn.fc2.weight"),
        (published.WAN_VAE_FILE, "decoder.middle.1.to_qkv.bias"),
        (published.LIGHT_VAE_FILE, "decoder.22.bias"),
        (published.WAN_VAE_FILE, "encoder.conv1.weight"),  # one that tells the size
    ],
)
def test_a_missing_weight_is_named(file: Path, name: str, copy: Path) -> None:
    state = read_state(copy / file)
    torch.save({key: value.clone() for key, value in state.items() if key != name}, copy / file)
    with pytest.raises(WeightsError, match=name):
        LOADERS[file](copy)


def test_a_config_that_lacks_a_size_is_named(copy: Path) -> None:
    file = copy / published.TRANSFORMER_CONFIG_FILE
    values = json.loads(file.read_text())
    del values["num_heads"]
    file.write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"config\.json lacks num_heads"):
        published.load_transformer(copy, "cpu", torch.float32)
