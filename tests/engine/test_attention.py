import logging
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

from longlive_env.engine import attention as module
from longlive_env.engine.attention import attention, choose_backend
from longlive_env.engine.kernel_table import KernelTable, use_table
from longlive_env.errors import BackendError, ConfigError


def inputs(dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 5, 3, 16), torch.randn(2, 9, 3, 16), torch.randn(2, 9, 3, 16)
    return tuple(x.to(device, dtype) for x in (q, k, v))


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    scores = torch.einsum("bqhd,bkhd->bhqk", q.double(), k.double()) / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v.double())


@pytest.mark.parametrize("backend", ["auto", "sdpa", "matmul"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_backends_agree_with_the_formula(backend: str, masked: bool, dtype: torch.dtype) -> None:
    q, k, v = inputs(dtype)
    mask = torch.rand(2, 1, 1, 9) > 0.4 if masked else None
    got = attention(q, k, v, mask, backend=backend)
    assert got.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(got.double(), written_out(q, k, v, mask), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["cudnn", "flash", "sdpa-flash", "sdpa-efficient"])
def test_asking_for_an_absent_backend_names_the_remedy(backend: str) -> None:
    with pytest.raises(BackendError, match=f"'{backend}' on cpu.*use 'auto' or 'sdpa'"):
        attention(*inputs(), backend=backend)


def test_unknown_backend_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'xformers'; expected one of auto, sdpa"):
        attention(*inputs(), backend="xformers")


def test_auto_logs_its_choice_and_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    module._reasoned.cache_clear()
    with caplog.at_level(logging.INFO, logger=module.__name__):
        attention(*inputs(torch.bfloat16))
        attention(*inputs(torch.bfloat16))
    assert [record.message for record in caplog.records] == [
        "attention on cpu in torch.bfloat16: matmul, because matrix products in half precision outrun SDPA's "
        "blocked kernel on a CPU"
    ]


@pytest.mark.parametrize("masked", [False, True])
def test_auto_on_cuda_leaves_the_kernel_to_pytorch_until_one_was_measured(
    monkeypatch: pytest.MonkeyPatch, masked: bool
) -> None:
    """By name cuDNN and flash-attn have nothing to fall back on: head widths, old GPUs, determinism."""
    for name in ("_cudnn_available", "_flash_available"):
        monkeypatch.setattr(module, name, lambda: True)
    device, sizes = torch.device("cuda"), (6, 5, 9, 16)
    assert choose_backend(device, torch.bfloat16, masked, sizes) == "sdpa"
    call = module.call_of(torch.bfloat16, sizes, masked)
    use_table(device, KernelTable("a GPU", "2.13", {call: {"sdpa": 2.0, "cudnn": 1.0}}))
    module._checked.cache_clear()
    try:
        assert choose_backend(device, torch.bfloat16, masked, sizes) == "cudnn"
    finally:
        use_table(device, None)
        module._checked.cache_clear()


def test_flash_attention_is_traced_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its package is found once, and no compiler looks into it: some releases cannot be traced."""

    def untraceable(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, None]:
        torch._dynamo.graph_break()
        return q + k.mean() + v.mean(), None

    package = SimpleNamespace(flash_attn_func=untraceable)
    monkeypatch.setitem(sys.modules, "flash_attn_interface", package)
    monkeypatch.setattr(module, "_flash_attention", None)
    module._flash_available.cache_clear()
    try:
        assert module._flash_available()
        q = torch.randn(1, 5, 2, 8)
        traced = torch.compile(module._flash, fullgraph=True, backend="eager")
        torch.testing.assert_close(traced(q, q, q, None), q + 2 * q.mean())
        q.requires_grad_()
        module._flash(q, q, q, None).sum().backward()  # training is not compiled
        torch.testing.assert_close(q.grad, torch.full_like(q, 3.0))
    finally:
        module._flash_available.cache_clear()


@pytest.mark.parametrize(
    ("backend", "kernel", "masks"),
    [
        ("cudnn", SDPBackend.CUDNN_ATTENTION, True),
        ("sdpa-flash", SDPBackend.FLASH_ATTENTION, False),
        ("sdpa-efficient", SDPBackend.EFFICIENT_ATTENTION, True),
    ],
)
def test_each_of_pytorch_s_kernels_can_be_asked_for_by_itself(
    monkeypatch: pytest.MonkeyPatch, backend: str, kernel: SDPBackend, masks: bool
) -> None:
    """Left to itself PyTorch takes one of them, and a table would time that one twice."""
    allowed: list[object] = []

    def run(q: torch.Tensor, *others: object, attn_mask: object) -> torch.Tensor:
        allowed.append(torch.nn.attention._cur_sdpa_kernel_backends())
        return q

    monkeypatch.setattr(F, "scaled_dot_product_attention", run)
    monkeypatch.setattr(module, "_cudnn_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    module._checked.cache_clear()
    try:
        assert backend in module.backends("cuda") and backend not in module.backends("cpu")
        module._KERNELS[backend](*inputs(), None)
        assert allowed == [[kernel]]
        with nullcontext() if masks else pytest.raises(BackendError, match="takes no mask"):
            module._KERNELS[backend](*inputs(), torch.ones(1, 1, 1, 9, dtype=torch.bool))
    finally:
        module._checked.cache_clear()


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["auto", "sdpa", "cudnn", "sdpa-flash", "sdpa-efficient"])
def test_cuda_backends_agree_with_sdpa_on_the_cpu(backend: str) -> None:
    got = attention(*inputs(torch.bfloat16, "cuda"), backend=backend)
    torch.testing.assert_close(got.cpu().float(), attention(*inputs(), backend="sdpa"), rtol=3e-2, atol=3e-2)
