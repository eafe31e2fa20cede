"""Comments in the YAML of a scenario that may have been meant as text, such as `#1` in `the city #1`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

_COMMENT = re.compile(r"[ \t]+(#[^\s#].*)")  # one that was meant begins with '# '


def cut_off(text: str, file: str) -> Iterator[str]:
    """Warnings about texts of several words, without quotes, that a comment seems to cut off, one line each.

    Args:
        text: the YAML, without errors.
        file: name of the file, for messages.
    """
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if not isinstance(token, yaml.ScalarToken) or not token.plain or " " not in token.value:
            continue
        if comment := _COMMENT.match(text, token.end_mark.index):
            yield (
                f"{file}:{token.end_mark.line + 1}: {comment[1].rstrip()!r} is read as a comment; "
                "put the text before it in quotes if this belongs to it, or write '# '"
            )
