"""Snapshots: a rollout's state, without weights, in the host's memory or as bytes.

Unused slots, and what can be recomputed to the same numbers (keys and values of the prompts), are left out.
Bytes are safetensors with a JSON header, and a checksum reveals damage.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from longlive_env.engine.codec import CodecState
from longlive_env.engine.config import WorldConfig, from_dict, to_dict
from longlive_env.engine.config_values import differences
from longlive_env.engine.kv_cache import Timeline
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.state import RolloutState
from longlive_env.engine.transformer import CausalWanTransformer
from longlive_env.errors import ConfigError, SnapshotError

VERSION = 1
_CODEC = "codec."


@dataclass(frozen=True)
class Kept:
    """A rollout's state in the host's memory, for this process: bytes of a large world take seconds more.

    Attributes:
        header: JSON values.
        tensors: tensors on the CPU, by name.
        pinned: whether they are in pinned memory.
    """

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    pinned: bool = False

    @property
    def nbytes(self) -> int:
        """Memory that the tensors take, in bytes."""
        return sum(_taken(tensor, self.pinned) for tensor in self.tensors.values())


def keep(state: RolloutState, weights: str) -> Kept:
    """Copy the state of a rollout to the host; from a GPU into pinned memory, which is quick.

    Args:
        state: state of the rollout.
        weights: `World.fingerprint`.

    Raises:
        SnapshotError: the rollout's noise is not seeded.
    """
    header, tensors = _parts(state, weights)
    kept, device = dict[str, Tensor](), state.cache.keys.device
    pinned = device.type == "cuda"
    with torch.cuda.device(device) if pinned else contextlib.nullcontext():
        for name, tensor in tensors.items():
            kept[name] = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned)
            kept[name].copy_(tensor, non_blocking=True)
        if pinned:
            torch.cuda.current_stream(device).synchronize()
    return Kept(header, kept, pinned)


def _taken(tensor: Tensor, pinned: bool) -> int:
    """Bytes of memory for a copy of a tensor; PyTorch hands out pinned memory in powers of two."""
    return 1 << (tensor.nbytes - 1).bit_length() if pinned and tensor.nbytes else tensor.nbytes


def to_bytes(state: RolloutState, weights: str) -> bytes:
    """Return the state of a rollout as bytes; arguments and errors as in `keep`."""
    header, tensors = _parts(state, weights)
    plain = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    return save(plain, {"rollout": sealed(header, _raw(plain))})


def _parts(state: RolloutState, weights: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a snapshot; the tensors are those of the state, or parts of them."""
    if not isinstance(state.noise, WorldNoise):
        raise SnapshotError(
            f"a rollout with {type(state.noise).__name__} noise cannot be saved; start it with seeds"
        )
    cache = state.cache
    used = slice(0, cache.visible_frames * state.config.frame_tokens)
    newest = min(max(timeline.position for timeline in cache.timelines), state.config.context_frames)
    tensors = {
        "keys": cache.keys[:, :, used],
        "values": cache.values[:, :, used],
        "sink_keys": cache.sink_keys,
        "text": state.text,
        "history": state.history[:, state.config.context_frames - newest :],
        "noise": state.noise.states(),
        **{_CODEC + name: tensor for name, tensor in state.codec.to_tensors().items()},
    }
    header = {
        "version": VERSION,
        "config": _as_json(state.config),
        "weights": weights,
        "prompts": list(state.prompts),
        "whole_prompts": list(state.whole_prompts),
        "timelines": [[timeline.position, timeline.stored] for timeline in cache.timelines],
    }
    return header, {name: tensor.detach() for name, tensor in tensors.items()}


def full_bytes(state: RolloutState) -> int:
    """Bytes that a state takes which `keep` copies once the context is full and the codec has begun."""
    cache = state.cache
    tensors = [cache.keys, cache.values, cache.sink_keys, state.text, state.history]
    return sum(_taken(one, cache.keys.is_cuda) for one in (*tensors, *state.codec.memory.values()))


def from_bytes(data: bytes) -> Kept:
    """Read what `to_bytes` wrote.

    Raises:
        SnapshotError: the data are damaged, or of another version.
    """
    header = read_header(data, "rollout", what="rollout snapshot", source="snapshot()")
    if header.get("version") != VERSION:
        raise SnapshotError(
            f"snapshot of version {header.get('version')}; this release reads version {VERSION}"
        )
    try:
        tensors = load(data)
    except safetensors.SafetensorError as error:
        raise SnapshotError(f"the snapshot is damaged ({error}); take it again") from error
    check_seal(header, _raw(tensors), what="rollout snapshot")
    return Kept(header, tensors)


def resumed(
    kept: Kept,
    config: WorldConfig,
    transformer: CausalWanTransformer,
    *,
    into: RolloutState | None = None,
    convert: bool = False,
) -> tuple[RolloutState, str]:
    """The state that was kept, on the device of `transformer`, and the fingerprint of its weights.

    Args:
        kept: what `keep` or `from_bytes` returned.
        config: the world's configuration.
        transformer: the world's transformer.
        into: a state of the same world that is no longer needed. If it has as many worlds, and seeded noise,
            it is overwritten and returned, since a second state may not fit on the device.
        convert: whether to round keys and values of another type to the world's, instead of raising.

    Raises:
        SnapshotError: it is of a world with another configuration or type; `into` is unchanged then.
    """
    header, tensors = kept.header, kept.tensors
    _check_config(header["config"], config)
    expected, got = transformer.kv_dtype or transformer.patch_embedding.weight.dtype, tensors["keys"].dtype
    if got != expected and not convert:
        raise SnapshotError(
            f"the snapshot holds {got} and the world runs in {expected}; load the world in {got}"
        )
    batch = len(header["prompts"])
    if into is None or into.batch != batch or not isinstance(into.noise, WorldNoise):
        into = RolloutState(config, transformer, WorldNoise([0] * batch), batch)
    _fill(into, header, tensors)
    return into, header["weights"]


def _fill(state: RolloutState, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Overwrite a state with what a snapshot holds, in place, as captured graphs hold the addresses."""
    assert isinstance(state.noise, WorldNoise)
    state.noise.set_states(tensors["noise"])
    cache = state.cache
    cache.timelines = [Timeline(position, stored) for position, stored in header["timelines"]]
    used = slice(0, tensors["keys"].shape[2])
    cache.keys[:, :, used].copy_(tensors["keys"])
    cache.values[:, :, used].copy_(tensors["values"])
    cache.sink_keys.copy_(tensors["sink_keys"])
    prompts = header["prompts"]
    whole = header.get("whole_prompts", prompts)  # earlier snapshots have none
    for world, prompt in enumerate(prompts):
        state.set_prompt(world, prompt, tensors["text"][world].to(state.text.device), whole[world])
    begin = state.history.shape[1] - tensors["history"].shape[1]
    state.history[:, :begin] = 0
    state.history[:, begin:].copy_(tensors["history"])
    own = {name.removeprefix(_CODEC): tensor for name, tensor in tensors.items() if name.startswith(_CODEC)}
    codec = CodecState.from_tensors(own)
    state.codec = state.codec.overwrite(codec).to(cache.keys.device)


Arrays = Mapping[str, npt.NDArray[Any]]  # contiguous


def sealed(header: dict[str, Any], arrays: Arrays, default: Callable[[Any], Any] | None = None) -> str:
    """Return a header as JSON, with a checksum of it and of arrays.

    Args:
        header: JSON values, and values that `default` converts to such.
        arrays: arrays that are stored with the header.
        default: see `json.dumps`.
    """
    text = json.dumps(header, default=default)
    return json.dumps({**json.loads(text), "checksum": _checksum(text, arrays)})


def check_seal(header: dict[str, Any], arrays: Arrays, *, what: str) -> None:
    """Remove the checksum from a header, and check that header and arrays are as `sealed` was given them.

    Args:
        header: header as read.
        arrays: arrays as given to `sealed`.
        what: name of the data, for messages.

    Raises:
        SnapshotError: there is no checksum, or the data are damaged.
    """
    expected = header.pop("checksum", None)
    if expected is None:
        raise SnapshotError(f"the {what} has no checksum, so that damage would not be found; take it again")
    if _checksum(json.dumps(header), arrays) != expected:
        raise SnapshotError(f"the {what} is damaged (its checksum is wrong); take it again")


def _checksum(text: str, arrays: Arrays) -> str:
    """A CRC; a cryptographic digest would take as long as all the rest of cloning an env."""
    found = zlib.crc32(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        found = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), found)
        found = zlib.crc32(array.data, found)
    return f"{found:08x}"


def _raw(tensors: dict[str, Tensor]) -> dict[str, npt.NDArray[np.uint8]]:
    """Bytes of CPU tensors, keyed by name and type, because numpy lacks some of the types."""
    return {
        f"{name} {tensor.dtype}": torch.atleast_1d(tensor).view(torch.uint8).numpy()
        for name, tensor in tensors.items()
    }


def read_header(data: bytes, entry: str, *, what: str, source: str) -> dict[str, Any]:
    """Read the JSON that safetensors carry beside their tensors.

    Args:
        data: bytes that begin with the header's length in eight bytes, least significant first.
        entry: name of the metadata entry that holds the JSON.
        what: what the bytes should be, for messages.
        source: what returns such bytes, for messages.

    Raises:
        SnapshotError: the data are something else, or damaged.
    """
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][entry])
    except (ValueError, KeyError, TypeError) as error:
        raise SnapshotError(f"these {len(data)} bytes hold no {what}; pass what {source} returned") from error
    if not isinstance(header, dict):
        raise SnapshotError(f"the header of the {what} is damaged; take it again")
    return header


def _check_config(got: dict[str, Any], config: WorldConfig) -> None:
    expected = _as_json(config)
    if got == expected:
        return
    with contextlib.suppress(ConfigError):  # raised for something else altogether
        got = _as_json(from_dict(WorldConfig, got))  # options added later get their defaults
    differing = list(differences(got, expected))
    if differing:
        path, was, here = differing[0]
        raise SnapshotError(
            f"the snapshot is of a world whose {path} is {was!r}, here it is {here!r}; {_remedy(differing)}"
        )


def _remedy(differing: list[tuple[str, Any, Any]]) -> str:
    """How to load the world of a snapshot, from what `differences` found."""
    if [path for path, *_ in differing] == ["codec.detail", "height", "width"]:
        _, was, here = differing[0]
        if not was:
            return "load the world with codec='light'"
        if not here:
            return "load the world without codec="
    return "load that world"


def _as_json(config: WorldConfig) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(to_dict(config)))
    del values["vocabulary"]  # changes no frame
    return values
