"""The choice between PyTorch and our own kernels, and that they agree."""

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from longlive_env.engine import fused
from longlive_env.engine.fused import call_of, choose_fused
from longlive_env.engine.kernel_table import KernelTable, use_table
from longlive_env.engine.world import World
from longlive_env.errors import BackendError, ConfigError

CPU, SIZES = torch.device("cpu"), (72, 2, 16)
HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _without_table() -> Iterator[None]:
    yield
    use_table(CPU, None)
    fused._measured.cache_clear()


def choose(compiled: bool = False) -> str:
    return choose_fused("auto", CPU, torch.float32, SIZES, compiled)


def test_kernels_agree_in_the_interpreter() -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, HERE / "fused_checks.py"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("capability", "element"), [(80, "fp32"), (90, "bf16")])
def test_the_kernel_compiles_for_gpus_that_are_not_here(capability: int, element: str) -> None:
    pytest.importorskip("triton", reason="triton is not installed")
    if os.environ.get("TRITON_INTERPRET") == "1":
        pytest.skip("the interpreter compiles nothing")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from longlive_env.engine.triton_kernels import _norm_rotate_store as kernel

    constants = {"eps": 1e-6, "dim": 1536, "pairs": 64, "block": 2048}
    types = dict.fromkeys(kernel.arg_names, f"*{element}") | dict.fromkeys(constants, "constexpr")
    types |= {"cos": "*fp32", "sin": "*fp32", "slots": "*i64"}
    strides = [f"{tensor}_{axis}" for tensor in "qkv" for axis in ("world", "token")]
    types |= dict.fromkeys((*strides, "tokens", "frame_tokens", "turns_of_world"), "i32")
    aligned = [name for name, kind in types.items() if kind.startswith("*") or name in strides]
    places = {name: (place,) for place, name in enumerate(kernel.arg_names)}
    source = ASTSource(
        kernel, {name: types[name] for name in kernel.arg_names},
        constexprs={places[name]: value for name, value in constants.items()},
        attrs={places[name]: [["tt.divisibility", 16]] for name in aligned},
    )  # fmt: skip
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert (
        "ld.global.v4" in made.asm["ptx"] and "st.global.v4" in made.asm["ptx"]
    )  # rows move 16 bytes at once


def test_a_kernel_has_to_win_first(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(fused, "why_absent", lambda device: None)
    monkeypatch.setattr(fused, "_load", lambda: None)
    assert choose() == choose(compiled=True) == "plain"
    times = {"plain": 90.0, "compiled": 30.0, "triton": 40.0}
    use_table(CPU, KernelTable("CPU", "2", {call_of(torch.float32, SIZES): times}))
    with caplog.at_level(logging.INFO, logger=fused.__name__):
        assert choose() == choose() == "triton" and choose(compiled=True) == "plain"
    assert len(caplog.records) == 2 and "triton took 40 us and plain 90" in caplog.text
    use_table(CPU, KernelTable("CPU", "2", {call_of(torch.float32, SIZES): {"plain": 90.0}}))
    assert choose() == "plain"


def test_a_kernel_that_is_absent_is_not_chosen_and_cannot_be_asked_for(
    make_world: Callable[..., World],
) -> None:
    assert fused.why_absent("cpu") is not None
    times = {"plain": 2.0, "triton": 1.0}
    use_table(CPU, KernelTable("CPU", "2", {call_of(torch.float32, SIZES): times}))
    assert choose() == "plain"
    world = make_world()
    world.transformer.fuse("triton")
    with pytest.raises(BackendError, match=r"fused 'triton' on cpu: .*; use 'auto' or 'plain'"):
        world.start("a red cat").step_latents()
    with pytest.raises(ConfigError, match="expected one of auto, plain, triton"):
        choose_fused("cuda", CPU, torch.float32, SIZES, False)  # type: ignore[arg-type]


@pytest.mark.gpu
def test_kernels_agree_on_cuda() -> None:
    import fused_checks

    fused_checks.check_kernel("cuda")
    fused_checks.check_compiled("cuda", "inductor")


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["off", "graphs"])
def test_worlds_agree_on_cuda(make_config: Callable[..., Any], mode: Any) -> None:
    import fused_checks

    fused_checks.check_world(make_config(), "cuda", mode)


@pytest.mark.gpu
def test_kernels_are_timed_on_cuda() -> None:
    from longlive_env.engine.config import PRESETS
    from longlive_env.engine.kernel_timing import measure, world_calls

    cuda = torch.empty(0, device="cuda").device
    calls = [call for call in world_calls(PRESETS["tiny"], cuda, torch.bfloat16) if "norm" in call.operation]
    times = measure(calls[:1], cuda).us[calls[0]]
    assert set(times) == {"plain", "compiled", "triton"}
