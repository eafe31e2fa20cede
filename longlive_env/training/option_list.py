"""The options of a stage as text: what each is called and for, its type, and its default."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

_WIDTH, _INDENT = 100, " " * 6


def option_lines(options_type: type[Any]) -> Iterator[str]:
    """Lines that describe the fields of an options dataclass, in their order.

    Args:
        options_type: the class; its docstring and those of its bases may explain fields under `Attributes:`.
    """
    explained = _explained(options_type)
    for field in dataclasses.fields(options_type):
        yield f"  {field.name}: {field.type} = {json.dumps(field.default)}"
        if field.name in explained:
            sentence = re.split(r"\.(?:\s|$)", explained[field.name])[0]
            yield textwrap.fill(sentence, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _explained(options_type: type[Any]) -> dict[str, str]:
    """What docstrings say of fields, that of the nearest class; `python -OO` drops all of them."""
    found = dict[str, str]()
    for cls in reversed(options_type.__mro__):
        _, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
        section = re.split(r"\n(?=\S)", attributes)[0]  # up to the next one
        for entry in re.split(r"\n(?= {4}\S)", section):
            name, _, text = entry.partition(": ")
            found[name.strip()] = " ".join(text.split())
    return found
