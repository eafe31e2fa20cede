import json
import pickle
from pathlib import Path

import pytest
import torch
from parity import DATA
from safetensors.torch import save_file
from torch import nn

from longlive_env.engine.config import PRESETS
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.engine.weights import (
    build,
    lora_shapes,
    plain_names,
    read_json,
    read_state,
    read_tensors,
    shapes,
    state_of,
    with_lora,
    write_state,
)
from longlive_env.errors import WeightsError


class Pair(nn.Module):
    """Two layers, a buffer that is saved, and a constant that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.second = nn.Linear(4, 2, bias=False)
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("table", torch.arange(3.0, device="cpu"), persistent=False)


def state() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in Pair().state_dict().items()}


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_files_of_each_kind_are_read(suffix: str, tmp_path: Path) -> None:
    file, want = tmp_path / f"w{suffix}", state()
    save_file(want, file) if suffix == ".safetensors" else torch.save(want, file)
    got = read_state(file)
    assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)


def test_files_of_the_format_before_zip_are_read(tmp_path: Path) -> None:
    """They cannot be mapped."""
    file, want = tmp_path / "old.pth", state()
    torch.save(want, file, _use_new_zipfile_serialization=False)
    got = read_state(file)
    assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"old\.pth"):
        read_tensors(file)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    torch.save({"w": torch.zeros(1), "trap": Trap(sprung)}, tmp_path / "evil.pt")
    trapped = {"w": torch.zeros(1), "trap": Trap(sprung)}
    torch.save(trapped, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("evil.pt", "old.pt", "raw.pth"):
        with pytest.raises(WeightsError, match=f"{name}"):
            read_tensors(tmp_path / name)
    assert not sprung.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.98])
def test_truncated_files_are_named(suffix: str, kept: float, tmp_path: Path) -> None:
    file = tmp_path / f"w{suffix}"
    save_file(state(), file) if suffix == ".safetensors" else torch.save(state(), file)
    whole = file.read_bytes()
    size = kept if isinstance(kept, int) else int(len(whole) * kept)
    file.write_bytes(whole[:size])
    with pytest.raises(WeightsError, match=rf"{file.name}.*(damaged or incomplete|refused)"):
        read_state(file)


def test_missing_and_odd_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no\.pt does not exist"):
        read_tensors(tmp_path / "no.pt")
    with pytest.raises(WeightsError, match=r"no\.safetensors does not exist"):
        read_tensors(tmp_path / "no.safetensors")
    torch.save(torch.zeros(2), tmp_path / "one.pt")
    with pytest.raises(WeightsError, match="holds a Tensor; expected tensors by name"):
        read_tensors(tmp_path / "one.pt")
    torch.save({"generator": state(), "step": 3}, tmp_path / "nested.pt")
    with pytest.raises(WeightsError, match="holds generator, step beside tensors"):
        read_state(tmp_path / "nested.pt")
    with pytest.raises(WeightsError, match="cannot read"):
        read_json(tmp_path / "no.json")


def test_the_first_entry_that_is_there_is_taken() -> None:
    file, content = Path("nested.pt"), {"ema": state(), "model": {"w": torch.ones(1)}, "step": 3}
    assert state_of(content, file, ("generator", "ema", "model")).keys() == state().keys()
    with pytest.raises(WeightsError, match=r"nested\.pt has no entry 'generator'; it has ema, model, step"):
        state_of(content, file, ("generator",))
    with pytest.raises(WeightsError, match="has no entry 'step' or 'ema'"):
        state_of(content, file, ("step", "ema"))
    with pytest.raises(WeightsError, match=r"nested\.pt holds epoch beside tensors"):
        state_of({"model": {"w": torch.ones(1), "epoch": 3}}, file, ("model",))


def test_a_module_gets_its_weights_type_and_constants() -> None:
    want = state()
    module = build(Pair, want, "here", dtype=torch.bfloat16)
    assert torch.equal(module.first.weight, want["first.weight"].bfloat16())
    assert module.scale.dtype == torch.bfloat16
    assert torch.equal(module.table, torch.arange(3.0))
    assert not module.training and not any(p.requires_grad for p in module.parameters())
    assert not any(value.is_meta for value in (*module.parameters(), *module.buffers()))


def test_building_draws_no_random_numbers() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build(lambda: nn.Embedding(4, 3), {"weight": torch.ones(4, 3)}, "here")
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_no_longer_tied_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    write_state(file, Pair())
    module = build(Pair, read_state(file), str(file))
    want = {name: value.clone() for name, value in module.state_dict().items()}
    file.write_bytes(b"\0" * file.stat().st_size)
    assert all(torch.equal(value, want[name]) for name, value in module.state_dict().items())


def test_what_does_not_fit_is_listed_with_both_shapes() -> None:
    wrong = state()
    del wrong["first.bias"]
    wrong["third.weight"] = torch.zeros(1)
    wrong["second.weight"] = torch.zeros(2, 5)
    with pytest.raises(WeightsError) as error:
        build(Pair, wrong, "somewhere.pt")
    message = str(error.value)
    assert message.startswith("somewhere.pt does not fit the model")
    assert "missing (1): first.bias" in message
    assert "unexpected (1): third.weight" in message
    assert "second.weight is [2, 5], expected [2, 4]" in message


def test_long_lists_are_counted() -> None:
    with pytest.raises(WeightsError, match=r"unexpected \(50\): n0, n1, .*n19 and 30 more"):
        build(Pair, {**state(), **{f"n{i}": torch.zeros(1) for i in range(50)}}, "here")


def test_a_half_written_file_never_takes_the_place_of_a_whole_one(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "w.safetensors"
    write_state(file, Pair(), torch.float16)
    whole = file.read_bytes()
    assert {value.dtype for value in read_state(file).values()} == {torch.float16}

    def crash(_, path: Path, *rest: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("longlive_env.engine.weights.save_file", crash)
    with pytest.raises(OSError, match="disk full"):
        write_state(file, Pair())
    assert file.read_bytes() == whole and list(tmp_path.iterdir()) == [file]


def test_wrappers_and_prefixes_are_taken_off() -> None:
    one = torch.zeros(1)
    names = ("model._fsdp_wrapped_module.blocks.0._fsdp_wrapped_module.q", "model.head", "_orig_mod.tail")
    assert list(plain_names(dict.fromkeys(names, one), "model.")) == ["blocks.0.q", "head", "tail"]


def small_lora(rank: int = 2) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    base = {
        "blocks.0.q.weight": torch.randn(4, 3),
        "blocks.0.q.bias": torch.randn(4),
        "head.weight": torch.ones(2, 2),
    }
    return base, {name: torch.randn(shape) for name, shape in lora_shapes(shapes(base), rank).items()}


def test_a_merged_lora_is_the_sum_of_both_paths() -> None:
    base, lora = small_lora()
    down, up = lora.values()
    x = torch.randn(5, 3)
    merged = with_lora(base, lora, "lora.pt")
    want = x @ base["blocks.0.q.weight"].T + (x @ down.T) @ up.T
    torch.testing.assert_close(x @ merged["blocks.0.q.weight"].T, want)
    assert merged["head.weight"] is base["head.weight"]


def test_a_lora_that_does_not_fit_is_refused() -> None:
    base, lora = small_lora()
    name = next(iter(lora))
    with pytest.raises(WeightsError, match=r"lora\.pt does not fit.*missing \(1\): .*lora_B"):
        with_lora(base, {name: lora[name]}, "lora.pt")
    with pytest.raises(WeightsError, match="expected one rank"):
        with_lora(base, {**lora, "base_model.model.x.lora_A.weight": torch.zeros(7, 3)}, "lora.pt")
    with pytest.raises(WeightsError, match="expected one rank"):
        with_lora(base, {}, "lora.pt")


def test_lora_names_and_shapes_at_published_size() -> None:
    manifest = json.loads((DATA / "manifests" / "longlive-lora-r256.json").read_text())
    with torch.device("meta"):
        transformer = CausalWanTransformer(PRESETS["1.3b"].transformer)
    assert lora_shapes(shapes(transformer), 256) == {name: tuple(shape) for name, shape in manifest.items()}
