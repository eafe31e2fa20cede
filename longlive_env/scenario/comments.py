"""What YAML takes out of a text, although it may belong there: `#1` in `the city #1`, `&a` in `&a cat`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import yaml

_COMMENT = re.compile(r"[ \t]+(#[^\s#].*)")  # one that was meant begins with '# '


def cut_off(text: str, file: str) -> Iterator[str]:
    """Warnings about texts without quotes that seem to be cut off, one line each.

    At the end that is a comment behind several words, at the beginning a name that no alias uses.

    Args:
        text: the YAML, without errors.
        file: name of the file, for messages.
    """
    tokens = [*yaml.scan(text, Loader=yaml.SafeLoader)]
    used = {token.value for token in tokens if isinstance(token, yaml.AliasToken)}
    for token, after in itertools.pairwise(tokens):
        named = isinstance(after, yaml.ScalarToken) and after.plain
        if named and isinstance(token, yaml.AnchorToken) and token.value not in used:
            yield (
                f"{file}:{token.start_mark.line + 1}: '&{token.value}' is read as a name for what follows, "
                "and nothing uses it; put the text in quotes if this belongs to it"
            )
        if not isinstance(token, yaml.ScalarToken) or not token.plain or " " not in token.value:
            continue
        if comment := _COMMENT.match(text, token.end_mark.index):
            yield (
                f"{file}:{token.end_mark.line + 1}: {comment[1].rstrip()!r} is read as a comment; "
                "put the text before it in quotes if this belongs to it, or write '# '"
            )
