import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from longlive_env.engine import linear
from longlive_env.engine.linear import FeedForward, Linear


@pytest.fixture(params=["onednn", "plain"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(linear, "_wide_vectors", lambda: request.param == "onednn")
    if request.param == "onednn" and not linear._onednn(torch.float32):
        pytest.skip("this PyTorch has no oneDNN")
    return request.param


@pytest.mark.parametrize("shape", [(5, 24), (2, 5, 24), (2, 3, 5, 24)])
@pytest.mark.parametrize("gelu", [False, True])
def test_both_libraries_compute_a_linear_layer(library: str, shape: tuple[int, ...], gelu: bool) -> None:
    layer, x = Linear(24, 40), torch.randn(shape)
    want = F.linear(x.double(), layer.weight.double(), layer.bias.double())
    want = F.gelu(want, approximate="tanh") if gelu else want
    with torch.inference_mode():
        torch.testing.assert_close(layer(x, gelu=gelu).double(), want, rtol=1e-5, atol=1e-6)


def test_feed_forward_is_its_three_layers(library: str) -> None:
    layer, x = FeedForward(24, 40), torch.randn(2, 5, 24)
    assert list(layer.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    with torch.no_grad():
        torch.testing.assert_close(layer(x), torch.nn.Sequential.forward(layer, x))


def test_gradients_flow(library: str) -> None:
    layer, x = FeedForward(24, 40), torch.randn(5, 24, requires_grad=True)
    layer(x).square().sum().backward()
    assert x.grad is not None and all(p.grad is not None for p in layer.parameters())
    frozen = Linear(24, 40).requires_grad_(False)
    frozen(x).sum().backward()
    assert frozen.bias.requires_grad_(True).grad is None
    frozen(x.detach()).sum().backward()
    assert frozen.bias.grad is not None


def test_autocast_still_casts(library: str) -> None:
    layer, x = Linear(24, 40), torch.randn(5, 24)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_half_precision_works_whatever_the_processor_has(library: str) -> None:
    """oneDNN has no product in bfloat16 on processors without AVX-512: then it must not be asked for one."""
    layer, x = Linear(24, 40).to(torch.bfloat16), torch.randn(5, 24, dtype=torch.bfloat16)
    want = F.gelu(F.linear(x.float(), layer.weight.float(), layer.bias.float()), approximate="tanh")
    with torch.inference_mode():
        got = layer(x, gelu=True)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), want, rtol=2e-2, atol=2e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_gelu_within_a_product_is_gelu_on_cuda(dtype: torch.dtype) -> None:
    layer = Linear(256, 512).to("cuda", dtype)
    x = torch.randn(2, 3, 64, 256).to("cuda", dtype)
    assert linear.gelu_in_product(dtype, x.device)
    want = F.gelu(F.linear(x.double(), layer.weight.double(), layer.bias.double()), approximate="tanh")
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(layer(x, gelu=True).double(), want, rtol=tolerance, atol=tolerance)


def test_onednn_is_for_wide_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AVX-512, MKL's products are the faster ones (docs/performance.md)."""
    works = linear._works(linear._onednn_product, torch.float32, torch.device("cpu"))
    for capability, chosen in (("AVX512", works), ("AVX2", False), ("DEFAULT", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda name=capability: name)
        assert linear._onednn(torch.float32) is chosen


def _rounded(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(F.linear(x.float(), weight.float(), bias.float()), approximate="tanh").to(x.dtype)


def _without_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x.float(), weight.float(), bias.float()).to(x.dtype)


def _by_erf(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.gelu(F.linear(x, weight, bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_product_is_tried_as_exactly_as_its_type_allows(dtype: torch.dtype) -> None:
    tried, cpu = linear._works.__wrapped__, torch.device("cpu")
    assert tried(_rounded, dtype, cpu) and not tried(_without_gelu, dtype, cpu)
    assert not tried(_by_erf, torch.float32, cpu)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert tried(F.linear, dtype, cpu) is False and tried(_rounded, dtype, cpu)
