"""Infos of worlds: what a task may put into one, and those of several worlds in Gymnasium's batched form.

Shapes: N worlds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from longlive_env.errors import ConfigError

# What an entry may be.
ENTRIES = "texts, numbers, flags, None, lists and dicts of these, or an array of numbers"


def plain_entry(value: Any) -> Any:
    """Return an entry of a task's info in the one form that steps, batches and restored states give it.

    Numbers are Python's, lists are tuples, and arrays and tensors are arrays of their own, or numbers if they
    have no axis.

    Raises:
        TypeError: it is none of `ENTRIES`.
    """
    if isinstance(value, torch.Tensor):
        value = (value.float() if value.dtype is torch.bfloat16 else value).numpy(force=True)
    if isinstance(value, np.ndarray) and value.ndim > 0:
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise TypeError(f"an array of {value.dtype}")
        return np.array(value, value.dtype.newbyteorder("="), order="C")
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value)  # the text of an enum's member, not its name
    for kind in (bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(one) for name, one in value.items()}
    raise TypeError(f"{type(value).__name__} {value!r}"[:80])


def batched(infos: Mapping[int, Mapping[str, Any]], count: int) -> dict[str, Any]:
    """Return infos of some of N worlds in Gymnasium's form: `key` -> [N], `_key` -> which have it, bool [N].

    Gymnasium's own would take the type of each column from the first world, and so cut the others' values.

    Args:
        infos: info by world.
        count: number of worlds, N.

    Raises:
        ConfigError: entries of one name do not fit together.
    """
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for info in infos.values() for key in info):
        values = {world: info[key] for world, info in infos.items() if key in info}
        _check_alike(key, values)
        if all(isinstance(value, dict) for value in values.values()):
            found[key] = batched(values, count)
        else:
            found[key] = _column(values, count)
        having = np.zeros(count, np.bool_)
        having[list(values)] = True
        found[f"_{key}"] = having
    return found


def _column(values: Mapping[int, Any], count: int) -> npt.NDArray[Any]:
    """Return values of some worlds as one array, of a type that holds all of them."""
    worlds, entries = list(values), list(values.values())
    if all(isinstance(entry, np.ndarray) for entry in entries):
        column = np.zeros((count, *entries[0].shape), np.result_type(*entries))
        column[worlds] = entries
        return column
    if all(isinstance(entry, (bool, int, float)) for entry in entries):
        types = set(map(type, entries))
        column = np.zeros(count, types.pop() if len(types) == 1 else float if float in types else int)
        with contextlib.suppress(OverflowError):  # beyond 64 bits
            column[worlds] = entries
            pairs = zip(column[worlds].tolist(), entries, strict=True)
            if all(kept == entry or entry != entry for kept, entry in pairs):  # NaN differs from itself
                return column
    column = np.full(count, None, object)
    for world, entry in values.items():
        column[world] = entry
    return column


def _check_alike(key: str, values: Mapping[int, Any]) -> None:
    """Check that worlds which say something under a name all have dicts there, or arrays of one shape.

    Raises:
        ConfigError: two do not.
    """
    first = None
    for world, value in values.items():
        if value is None:
            continue
        if first is None:
            first = world
        if _kind(value) != _kind(values[first]):
            raise ConfigError(
                f"info {key!r} is {_told(values[first])} in world {first} and {_told(value)} in world "
                f"{world}; give every world's the same kind and shape"
            )


def _kind(value: Any) -> Any:
    return value.shape if isinstance(value, np.ndarray) else isinstance(value, dict)


def _told(value: Any) -> str:
    return f"an array {list(value.shape)}" if isinstance(value, np.ndarray) else f"{value!r:.40}"
