"""Strict conversion of config dataclasses to plain JSON values and back; errors name the wrong field."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from longlive_env.errors import ConfigError, did_you_mean

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as plain JSON values; a member of a union is tagged with its `kind`."""
    out: dict[str, Any] = {"kind": config.kind} if hasattr(config, "kind") else {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        out[item.name] = list(value) if isinstance(value, tuple) else value
    return out


def from_dict(cls: type[T], values: Any, where: str = "") -> T:
    """Build the config dataclass `cls` from plain values, strictly.

    Args:
        cls: a config dataclass.
        values: what `to_dict` returned.
        where: dotted path for messages.

    Raises:
        ConfigError: a name is unknown or missing, or a value has the wrong type.
    """
    where = where or cls.__name__
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is {values!r}; expected a table of names and values")
    values = {k: v for k, v in values.items() if not (k == "kind" and hasattr(cls, "kind"))}
    hints = typing.get_type_hints(cls)
    items = {item.name: item for item in dataclasses.fields(cls) if item.init}  # type: ignore[arg-type]
    for name in values:
        if name not in items:
            remedy = did_you_mean(name, items, f"known names: {', '.join(items)}")
            raise ConfigError(f"{where} has no {name!r}; {remedy}")
    required = [n for n, f in items.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [n for n in required if n not in values]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; add the missing names")
    return cls(**{name: _read(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def differences(
    was: Mapping[str, Any], here: Mapping[str, Any], above: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield dotted path and both values of each setting that differs; None stands for an absent one.

    The `kind` of a table, which explains what else differs, comes first, and the others in order of name.

    Args:
        was: plain values, some of them tables of the same kind.
        here: values to compare them with.
        above: what precedes each path.
    """
    for name in sorted(was.keys() | here.keys(), key=lambda name: (name != "kind", name)):
        one, other = was.get(name), here.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other, f"{above}{name}.")
        elif one != other:
            yield f"{above}{name}", one, other


def _read(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `hint` of the field at `where`, and convert lists to tuples."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        kinds = {option.kind: option for option in typing.get_args(hint)}
        kind = value.get("kind") if isinstance(value, dict) else None
        if kind not in kinds:
            raise ConfigError(f"{where}.kind is {kind!r}; expected one of {', '.join(kinds)}")
        return from_dict(kinds[kind], value, where)
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type[Any], hint), value, where)
    if origin in (tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} is {value!r}; expected a list")
        element = typing.get_args(hint)[0]
        return tuple(_read(element, one, f"{where}[{i}]") for i, one in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} is {value!r}; expected a table")
        element = typing.get_args(hint)[1]
        return {name: _read(element, one, f"{where}.{name}") for name, one in value.items()}
    if origin is Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise ConfigError(f"{where} is {value!r}; expected one of {known}")
        return value
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise ConfigError(f"{where} is {value!r}; expected {hint.__name__}")
    return hint(value)
