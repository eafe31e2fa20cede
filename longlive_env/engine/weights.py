"""Read and write weights: no code in a file is ever run, and every name and shape must be accounted for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from longlive_env.engine.packing import SCALE, pack, unpack
from longlive_env.engine.whole_files import in_one_step
from longlive_env.errors import ConfigError, WeightsError

State = dict[str, Tensor]
ModuleT = TypeVar("ModuleT", bound=nn.Module)

_LISTED = 20  # names that an error spells out before it counts the rest
_WRAPPERS = {"_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod"}
_LORA_PREFIX = "base_model.model."


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        WeightsError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON ({error}); write or download it again") from error


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a .safetensors or a torch .pt / .pth file, on the CPU.

    Torch files are opened with `weights_only=True`: tensors and plain containers, never code.

    Args:
        path: the file.

    Returns:
        Tensors by name; some torch files nest dictionaries of them.

    Raises:
        WeightsError: the file is missing, truncated, or holds something other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = _read_torch(path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} does not exist; name a file of weights, or get it again") from error
    except pickle.UnpicklingError as error:
        reason = "it holds more than tensors and plain values, or no torch data at all"
        raise WeightsError(f"{path} is refused: {reason}; get the published file again") from error
    except (OSError, RuntimeError, EOFError, ValueError, SafetensorError) as error:
        size = path.stat().st_size if path.is_file() else 0
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(
            f"{path} ({size} bytes) is damaged or incomplete ({reason}); get it again"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}; expected tensors by name")
    return dict(content)


def _read_torch(path: Path) -> Any:
    """Load a torch file, memory-mapped if its format allows that; formats before torch 1.6 do not."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=False)


def read_state(path: Path) -> State:
    """The state dict at the top level of a file.

    Raises:
        WeightsError: as `read_tensors`, or some value is not a tensor.
    """
    return state_of(read_tensors(path), path)


def state_of(content: Mapping[str, Any], path: Path, entries: Sequence[str] = ()) -> State:
    """The state dict among what `read_tensors` found in a file.

    Args:
        content: content of the file.
        path: the file, for messages.
        entries: keys that may hold it, of which the first present one counts; if empty, it is at the top
            level.

    Raises:
        WeightsError: the entry is absent, or some value is not a tensor.
    """
    if entries:
        entry = next((content[name] for name in entries if name in content), None)
        if not isinstance(entry, Mapping):
            wanted = " or ".join(map(repr, entries))
            raise WeightsError(f"{path} has no entry {wanted}; it has {_listed(content)}; get it again")
        content = entry
    other = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if other:
        raise WeightsError(f"{path} holds {_listed(other)} beside tensors; expected tensors alone")
    return unpack(content)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is missing or damaged ({error}); get it again") from error


def write_state(
    path: Path,
    module: nn.Module,
    dtype: torch.dtype | None = None,
    packed: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a module's weights as safetensors, floating-point ones in `dtype` when given.

    The file is written under a temporary name and then renamed, so that a crash never leaves half a file.

    Args:
        path: file to write.
        module: module whose weights to write.
        dtype: type of floating-point weights on disk; None keeps theirs.
        packed: whether to store matrices as 8-bit integers with a scale for each row, see `packing`.
        metadata: entries for the file's header.

    Raises:
        ConfigError: the weights are quantized.
        OSError: the file cannot be written.
    """
    content = module.state_dict()
    if is_quantized(module):
        raise ConfigError("quantized weights cannot be saved; save the world before it is quantized")
    if packed:
        content = pack(content)
    state = {
        name: (value.cpu() if name.endswith(SCALE) else _cast(value, "cpu", dtype)).contiguous()
        for name, value in content.items()
    }
    try:
        with in_one_step(path) as aside:
            save_file(state, aside, dict(metadata or {}))
    except SafetensorError as error:  # its own error, even for a full disk
        raise OSError(str(error)) from error


def is_quantized(module: nn.Module) -> bool:
    """Whether any weight of a module is not a plain tensor."""
    return any(type(parameter.data) is not Tensor for parameter in module.parameters())


class _WithoutDraws(TorchFunctionMode):
    """Skips random draws, which do nothing on the meta device but import a compiler, taking seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def on_meta(factory: Callable[[], ModuleT]) -> ModuleT:
    """Make a module on the meta device; only constants that name a device hold data."""
    with torch.device("meta"), _WithoutDraws():
        return factory()


def build(
    factory: Callable[[], ModuleT],
    state: Mapping[str, Tensor],
    source: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | Callable[[str], torch.dtype] | None = None,
) -> ModuleT:
    """Make a module and load its weights, without ever initialising random ones.

    Args:
        factory: function that makes the module; it runs on the meta device, so constants must name a device
            of their own.
        state: the weights by name.
        source: where they come from, for messages.
        device: device of the module.
        dtype: type of the floating-point weights, or a function from a weight's name to its type; None keeps
            the file's. Buffers outside the state keep theirs.

    Returns:
        The module in eval mode, without gradients.

    Raises:
        WeightsError: a name is missing or unexpected, or a shape differs.
    """
    module = on_meta(factory)
    check_names(shapes(module), shapes(state), source)
    given = {
        name: _cast(value, device, dtype(name) if callable(dtype) else dtype) for name, value in state.items()
    }
    module.load_state_dict(given, assign=True)
    return module.to(device).eval().requires_grad_(False)


def shapes(holder: nn.Module | Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each weight by name, of a module or a state dict."""
    state = holder.state_dict() if isinstance(holder, nn.Module) else holder
    return {name: tuple(value.shape) for name, value in state.items()}


def check_names(
    expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Compare names and shapes.

    Raises:
        WeightsError: lists missing and unexpected names, and wrong shapes with both shapes.
    """
    missing = [name for name in expected if name not in got]
    unexpected = [name for name in got if name not in expected]
    wrong = [
        f"{name} is {list(got[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in got and got[name] != shape
    ]
    found = [("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong)]
    complaints = [f"{what} ({len(names)}): {_listed(names)}" for what, names in found if names]
    if complaints:
        raise WeightsError(f"{source} does not fit the model; " + "; ".join(complaints))


def plain_names(state: Mapping[str, Tensor], prefix: str) -> State:
    """Strip a prefix, and the name parts that training wrappers insert, from the names of a state.

    Args:
        state: weights by name.
        prefix: prefix to remove from names that have it.
    """
    kept = {".".join(part for part in name.split(".") if part not in _WRAPPERS): name for name in state}
    return {plain.removeprefix(prefix): state[name] for plain, name in kept.items()}


def lora_shapes(model: Mapping[str, tuple[int, ...]], rank: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a LoRA for every linear layer of a transformer's blocks, as PEFT writes them.

    Args:
        model: names and shapes of the transformer.
        rank: rank of the LoRA.
    """
    out: dict[str, tuple[int, ...]] = {}
    for name, shape in model.items():
        if name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2:
            stem = _LORA_PREFIX + name.removesuffix(".weight")
            out[stem + ".lora_A.weight"] = (rank, shape[1])
            out[stem + ".lora_B.weight"] = (shape[0], rank)
    return out


def with_lora(state: Mapping[str, Tensor], lora: Mapping[str, Tensor], source: str) -> State:
    """Add a LoRA to the weights it was trained for: W + B A, computed in float32.

    The published one has a scale (alpha / rank) of 1. Files of adapters do not tell theirs, so multiply the
    `lora_B` weights of another adapter by its scale first.

    Args:
        state: weights of the transformer by plain name.
        lora: PEFT weights, two for each linear layer of each block.
        source: where the LoRA comes from, for messages.

    Returns:
        A new state dict; the merged weights are float32.

    Raises:
        WeightsError: the LoRA does not fit the weights, name by name.
    """
    ranks = {value.shape[0] for name, value in lora.items() if name.endswith(".lora_A.weight")}
    if len(ranks) != 1:
        raise WeightsError(f"{source} has LoRA ranks {sorted(ranks)}; expected one rank for all layers")
    rank = ranks.pop()
    expected = lora_shapes(shapes(state), rank)
    check_names(expected, shapes(lora), source)
    merged = dict(state)
    for name in expected:
        if name.endswith(".lora_A.weight"):
            stem = name.removesuffix(".lora_A.weight")
            target = stem.removeprefix(_LORA_PREFIX) + ".weight"
            down, up = lora[name].float(), lora[stem + ".lora_B.weight"].float()
            merged[target] = torch.addmm(state[target].float(), up, down)
    return merged


def _cast(value: Tensor, device: torch.device | str, dtype: torch.dtype | None) -> Tensor:
    """Cast to a copy, so that no weight stays tied to a memory-mapped file."""
    return value.to(device, dtype if value.is_floating_point() else None, copy=True)


def _listed(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
