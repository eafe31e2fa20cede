"""Conversion of spaces, their items, reset options and infos to what a dataset can store."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from longlive_env.envs.checks import is_json
from longlive_env.errors import RecordingError

CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " "


def plain_options(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Keep the reset options that a file can hold: texts, numbers, and lists of them.

    `restored`, `continued` and `pictured` stand for a state, for frames and for a picture of the goal, which
    the episode cannot be repeated without.
    """
    given, marks = options or {}, {"state": "restored", "frames": "continued", "goal_image": "pictured"}
    found: dict[str, Any] = {mark: True for name, mark in marks.items() if given.get(name) is not None}
    for name, value in given.items():
        value = value.item() if isinstance(value, np.generic) else value
        if value is not None and is_json(value):
            found[name] = value
    return found or None


def plain_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the texts, numbers and flags of an info."""
    found = {name: value.item() if isinstance(value, np.generic) else value for name, value in info.items()}
    return {name: value for name, value in found.items() if isinstance(value, (str, bool, int, float))}


def info_columns(infos: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Collect plain infos by name, for names that all have, with texts in all of them or in none."""
    found = {name: [info.get(name) for info in infos] for name in infos[0]}
    return {
        name: values
        for name, values in found.items()
        if None not in values and len({isinstance(value, str) for value in values}) == 1
    }


def storable(space: spaces.Space[Any], items: Iterable[Any] = ()) -> spaces.Space[Any]:
    """Limit the texts of `space`, as files list every character, to printable ASCII and those in `items`."""
    if isinstance(space, spaces.Text):
        characters = "".join(sorted(set(CHARACTERS).union(*items)))
        return spaces.Text(space.max_length, min_length=space.min_length, charset=characters)
    if isinstance(space, spaces.Dict):
        return spaces.Dict(
            {name: storable(inner, [item[name] for item in items]) for name, inner in space.items()}
        )
    return space


def check_fit(
    ours: Sequence[spaces.Space[Any]], theirs: Sequence[spaces.Space[Any]], dataset_id: str
) -> None:
    """Check that items of the given action and observation spaces can be appended to a dataset.

    Args:
        ours: spaces of the items.
        theirs: spaces of the dataset.
        dataset_id: name of the dataset.

    Raises:
        RecordingError: they cannot.
    """
    for what, one, other in zip(("actions", "observations"), ours, theirs, strict=True):
        if (found := _difference(one, other)) is not None:
            keys, mine, its = found
            where = what + "".join(f"[{key!r}]" for key in keys)
            raise RecordingError(
                f"the dataset {dataset_id!r} has other spaces: its {where} are {_told(its)}, those of these "
                f"episodes {_told(mine)}; choose another version{_remedy(mine, its)}"
            )
    new = set[str]().union(*map(_new_characters, ours, theirs))
    if new:
        raise RecordingError(
            f"texts of these episodes have {''.join(sorted(new))!r}, and the dataset {dataset_id!r} was made "
            "for texts without; choose another version"
        )


Space = spaces.Space[Any] | None  # None if only the other Dict space has the key


def _difference(one: Space, other: Space) -> tuple[list[str], Space, Space] | None:
    """Find where two spaces have incompatible items; characters of texts do not matter.

    Returns:
        Dict keys that lead to the first differing spaces, and both spaces; None if all are compatible.
    """
    if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict):
        for name in sorted(one.keys() | other.keys()):
            if (found := _difference(one.get(name), other.get(name))) is not None:
                return [name, *found[0]], *found[1:]
        return None
    same = type(one) is type(other) and (isinstance(one, spaces.Text) or one == other)
    return None if same else ([], one, other)


def _told(space: Space) -> str:
    """Describe a space for messages; text spaces would list all of their characters."""
    return "absent" if space is None else "texts" if isinstance(space, spaces.Text) else f"{space}"


def _remedy(one: Space, other: Space) -> str:
    """Return a further remedy if pictures differ in size."""
    if not isinstance(one, spaces.Box) or not isinstance(other, spaces.Box):
        return ""
    if {one.dtype, other.dtype} != {np.dtype(np.uint8)} or len(one.shape) != len(other.shape):
        return ""
    return ", or make the env with the codec= and the size of frames that the dataset was made with"


def _new_characters(one: spaces.Space[Any], other: spaces.Space[Any]) -> set[str]:
    """Return the characters that texts of one space may contain, and those of the other may not."""
    if isinstance(one, spaces.Dict) and isinstance(other, spaces.Dict):
        return set[str]().union(*(_new_characters(one[name], other[name]) for name in one))
    if isinstance(one, spaces.Text) and isinstance(other, spaces.Text):
        return set(one.character_set - other.character_set)
    return set()


def columns(space: spaces.Space[Any], items: list[Any]) -> Any:
    """Arrange items of a space as Minari expects: a list, or a dict of lists for a Dict space."""
    if isinstance(space, spaces.Dict):
        return {name: columns(inner, [item[name] for item in items]) for name, inner in space.items()}
    return items if isinstance(space, spaces.Text) else [np.asarray(item) for item in items]
