"""Quantize linear layers to 8 bits: a transform of a model with loaded weights.

Only the linear layers of a transformer's blocks are replaced, which hold nearly all of its weights and
operations. The time and text embeddings that condition them, the patch embedding and the output head stay as
they are: they are small, and every token depends on them. So do the layers for cross-attention's keys and
values: they run once per prompt, uncompiled, where each of torchao's int8 products waits for the device.

fp8 and int8 compute 8-bit products, scaling inputs row by row at run time; int8-weight-only stores 8-bit
weights and computes in the model's own type.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from longlive_env.engine.config import EightBits
from longlive_env.engine.offload import is_offloaded
from longlive_env.engine.weights import is_quantized
from longlive_env.errors import BackendError, ConfigError, MissingExtraError

FP8_CAPABILITY = (8, 9)
SMALLEST = 1e-12  # least magnitude that a row of activations is scaled by in fp8
MULTIPLE = 16  # the kernels need both sides of a matrix to be multiples of this
ONCE_A_PROMPT = (".cross_attn.k", ".cross_attn.v")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class QuantizeReport:
    """What quantization did to a model.

    Attributes:
        precision: requested precision.
        quantized: names of the layers that were replaced.
        kept: names of the linear layers that were left as they are.
        bytes_before: bytes of all parameters and buffers before.
        bytes_after: the same afterwards, scales included.
    """

    precision: str
    quantized: tuple[str, ...]
    kept: tuple[str, ...]
    bytes_before: int
    bytes_after: int


def quantize(model: nn.Module, precision: EightBits) -> QuantizeReport:
    """Replace the weights of the linear layers in a transformer's blocks, in place.

    Args:
        model: model with the layout of `CausalWanTransformer`, in eval mode, on the device where it runs.
        precision: precision of the layers.

    Raises:
        ConfigError: the model is already quantized or offloaded; for other errors see `check_precision`.
    """
    weight = next(model.parameters())
    check_precision(precision, weight.device, weight.dtype)
    if is_quantized(model):
        raise ConfigError(f"the model is quantized already; load it again to make it {precision}")
    if is_offloaded(model):
        raise ConfigError(
            f"an offloaded model cannot become {precision}; choose one of precision and offload"
        )
    before = weight_bytes(model)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen = tuple(name for name, linear in linears.items() if _fits(name, linear))
    kept = tuple(name for name in linears if name not in chosen)
    _transform(model, precision, lambda module, name: name in chosen)
    report = QuantizeReport(precision, chosen, kept, before, weight_bytes(model))
    logger.info(
        "%s: %d linear layers quantized, %d kept; weights %.2f GB, before %.2f",
        precision, len(chosen), len(kept), report.bytes_after / 1e9, before / 1e9,
    )  # fmt: skip
    return report


def check_precision(precision: EightBits, device: torch.device, dtype: torch.dtype) -> None:
    """Check that linear layers can be quantized here.

    Args:
        precision: precision of the layers.
        device: device they run on.
        dtype: type of their weights before.

    Raises:
        ConfigError: the precision is unknown.
        BackendError: the device or the type cannot compute in it.
        MissingExtraError: torchao is not installed.
    """
    if precision not in get_args(EightBits):
        raise ConfigError(f"precision is {precision!r}; expected one of {', '.join(get_args(EightBits))}")
    if precision == "fp8":
        least = ".".join(map(str, FP8_CAPABILITY))
        if device.type != "cuda" or torch.cuda.get_device_capability(device) < FP8_CAPABILITY:
            raise BackendError(
                f"precision fp8 on {device}: it needs a CUDA GPU of capability {least} or more "
                "(Ada, Hopper or newer); use int8 or bf16"
            )
        if dtype != torch.bfloat16:
            raise BackendError(
                f"precision fp8 computes in bfloat16, and the model is {dtype}; load it in bfloat16"
            )
    try:
        importlib.import_module("torchao")
    except ImportError as error:
        raise MissingExtraError.of(f"precision {precision} needs torchao", "quant") from error


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of the parameters and buffers of some modules, counting all parts of quantized ones."""
    return sum(
        _bytes(value.data) for module in modules for value in (*module.parameters(), *module.buffers())
    )


def _bytes(value: Tensor) -> int:
    if type(value) is Tensor:
        return value.nbytes
    names, _ = value.__tensor_flatten__()  # type: ignore[attr-defined]
    return sum(_bytes(getattr(value, name)) for name in names)


def _fits(name: str, linear: nn.Linear) -> bool:
    once_a_prompt = name.endswith(ONCE_A_PROMPT)
    fits = not any(side % MULTIPLE for side in linear.weight.shape)
    return name.startswith("blocks.") and not once_a_prompt and fits


def _transform(model: nn.Module, precision: str, wanted: Callable[[nn.Module, str], bool]) -> None:
    from torchao import quantization

    kinds: dict[str, Callable[..., Any]] = {
        "fp8": quantization.Float8DynamicActivationFloat8WeightConfig,
        "int8": quantization.Int8DynamicActivationInt8WeightConfig,
        "int8-weight-only": quantization.Int8WeightOnlyConfig,
    }
    settings: dict[str, Any] = {}
    if precision == "fp8":  # a scale of zero, as for padding without a bias, would divide by zero
        settings = {"granularity": quantization.PerRow(), "activation_value_lb": SMALLEST}
    own = "set_inductor_config"  # torchao's options for the compiler, which hold for the whole process
    if own in inspect.signature(kinds[precision]).parameters:
        settings[own] = False
    quantization.quantize_(model, kinds[precision](**settings), filter_fn=wanted)
