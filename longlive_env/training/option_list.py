"""The options of a stage as text: name, type, default and purpose of each."""

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
    """Lines that describe the fields of an options dataclass, in order.

    Args:
        options_type: the class; its docstring and those of its bases explain fields under `Attributes:`.
    """
    explained = _explained(options_type)
    for field in dataclasses.fields(options_type):
        yield f"  {field.name}: {field.type} = {json.dumps(field.default)}"
        if field.name in explained:
            sentence = re.split(r"\.(?:\s|$)", explained[field.name])[0]
            yield textwrap.fill(sentence, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _explained(options_type: type[Any]) -> dict[str, str]:
    """Descriptions of fields from the nearest class's docstring; `python -OO` drops all docstrings."""
    found = dict[str, str]()
    for cls in reversed(options_type.__mro__):
        _, _, attributes = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
        section = re.split(r"\n(?=\S)", attributes)[0]  # up to the next section
        for entry in re.split(r"\n(?= {4}\S)", section):
            name, _, text = entry.partition(": ")
            found[name.strip()] = " ".join(text.split())
    return found
