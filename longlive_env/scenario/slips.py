"""Slips in YAML, told in plain words: on which line, what was got, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from longlive_env.scenario.layout import DASH, KEY, counted, indentation, indented, key_of, no_colon, no_space
from longlive_env.scenario.mistake import Mistake, Told, short

_MEANING = tuple("&*!|>,?@`%")  # what no text can begin with
_NAMED = ("while scanning an anchor", "while scanning an alias", "while scanning a block scalar")
_COLON = 'put a text that holds a colon in quotes, such as "night: a robot"'
BEGINS = "a text that begins with {} has to stand in quotes"


def slip(text: str, error: yaml.YAMLError) -> tuple[int, str]:
    """The line of a mistake, counted from 1, and what is said of it.

    Args:
        text: the YAML.
        error: what its parser found.
    """
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return line, f"it holds the control character U+{error.character:04X}; delete it"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return 1, " ".join(str(error).split())
    found = Mistake(text, error)
    for explain in _EXPLANATIONS:
        if told := explain(found):
            return told
    return found.line + 1, f"{found.problem}; check the quotes, brackets and indentation here and above"


def _tab(found: Mistake) -> Told:
    if "'\\t'" not in found.problem:
        return None
    return found.line + 1, "a tab stands where a text or a key belongs; indent with spaces, not with tabs"


def _comment(found: Mistake) -> Told:
    """A comment that begins within a text of {...} or [...], and hides how that ends."""
    if not found.context.startswith("while parsing a flow"):
        return None
    before, mark, _ = found.text[found.begin.index :].partition("\n")[0].partition(" #")
    opened = before.count("{") + before.count("[") > before.count("}") + before.count("]")
    if not mark or not opened or before.rstrip().endswith((",", "{", "[")):
        return None
    return found.begin.line + 1, "a comment begins at ' #'; put a text that holds a # in quotes"


def _begins(found: Mistake) -> Told:
    """A text that begins with a character that has a meaning of its own."""
    named = found.context.startswith(_NAMED)
    named = named or "tag" in found.context or "tag handle" in found.problem
    mark = found.begin if named else found.mark
    character = found.text[mark.index : mark.index + 1]
    if character == "-" and found.problem.startswith("sequence entries are not allowed"):
        return mark.line + 1, f"{BEGINS.format('-')}, and a list begins on the next line"
    told = (
        "cannot start any token",
        "expected the node content",
        "mapping keys are not",
        "second occurrence",
    )
    if found.problem.startswith("found undefined alias"):
        name = found.problem.removeprefix("found undefined alias ")
        return mark.line + 1, f"{BEGINS.format('*')}; as it is, it stands for {name}, which nothing is called"
    if not (named or any(part in found.problem for part in told)) or character not in _MEANING:
        return None
    return mark.line + 1, BEGINS.format(character)


def _document(found: Mistake) -> Told:
    if found.problem.startswith("but found another document"):
        return found.line + 1, "a second document begins with ---; keep one in a file"
    if not found.problem.startswith("expected '<document start>'"):
        return None
    for number, line in found.above(found.line):
        if line.rstrip() == "...":
            return number + 1, "the document ends with ..., and more follows; delete that line"
    first = next((i for i, line in enumerate(found.lines) if KEY.match(line)), 0)
    spaces = indentation(found.lines[first])
    if first < found.line and spaces:
        return first + 1, (
            f"{key_of(found.lines[first])!r} is indented by {counted(spaces)}, unlike the keys below it; "
            "indent them alike"
        )
    return None


def _quote(found: Mistake) -> Told:
    """A quote that is never closed, or closed too early."""
    if "quoted scalar" in found.context and "unexpected" in found.problem:
        mark = found.text[found.begin.index]
        return found.begin.line + 1, f"the quote {mark} that opens here is never closed; close it"
    if "unknown escape character" in found.problem:
        return found.line + 1, "within double quotes \\ has a meaning of its own; write \\\\, or / in a path"
    if "'<scalar>'" not in found.problem:
        return None
    last = found.token_before()
    if last is None or not isinstance(
        last, yaml.ScalarToken | yaml.FlowMappingEndToken | yaml.FlowSequenceEndToken
    ):
        return None
    rest = short(found.text[found.mark.index :].partition("\n")[0].rstrip())
    opens = found.text[last.start_mark.index]
    if not isinstance(last, yaml.ScalarToken):
        whole = "put a text that holds brackets in quotes as a whole"
        return found.line + 1, f"{rest!r} follows a closing {opens}; {whole}"
    if last.plain:
        return None
    if opens in "|>":
        above = f"the text in line {last.start_mark.line + 2} and below"
        return found.line + 1, f"{rest!r} is indented less than {above}; indent it alike"
    if last.start_mark.line != last.end_mark.line:
        return last.start_mark.line + 1, (
            f"the quote {opens} that opens here ends only in line {last.end_mark.line + 1}; "
            "close it where the text ends"
        )
    if opens == "'" and last.end_mark.index == found.mark.index:
        return found.line + 1, (
            f'the apostrophe before {rest!r} ends the quote; put the text in double quotes ("...")'
        )
    return found.line + 1, f"{rest!r} follows a closing quote; put the text in quotes as a whole"


def _bracket(found: Mistake) -> Told:
    """A bracket without its other half, or a comma too many or too few."""
    if match := re.search("but found '([]},])'", found.problem):
        if match[1] == ",":
            return (
                found.line + 1,
                "a comma follows the end of the entry; delete it, or put the text in quotes",
            )
        return (
            found.line + 1,
            f"a {match[1]} closes what was not opened; delete it, or put the text in quotes",
        )
    if not found.problem.startswith(("expected ',' or '}'", "expected ',' or ']'")):
        return None
    opens, closes = ("{", "}") if "}" in found.problem[:18] else ("[", "]")
    line = found.lines[found.line]
    inside = found.line == found.begin.line or (
        indentation(line) > indentation(found.lines[found.begin.line]) and not DASH.match(line)
    )
    if found.problem.endswith("but got ':'") and inside:
        key = KEY.match(line)
        if found.line != found.begin.line and key and found.mark.column < key.end():
            return found.line + 1, f"a comma is missing before {key['key']!r}; end the line above with one"
        return found.line + 1, f"a second colon follows a key; {_COLON}"
    return found.begin.line + 1, (
        f"the {opens} that opens here is never closed; add {closes} where it ends, or put the text in quotes"
    )


def _colon(found: Mistake) -> Told:
    if found.problem != "mapping values are not allowed here":
        return None
    return found.line + 1, f"a second colon follows a key; {_COLON}, or check the indentation"


_EXPLANATIONS: tuple[Callable[[Mistake], Told], ...] = (
    _tab,
    _comment,
    _begins,
    _document,
    no_space,
    no_colon,
    indented,
    _quote,
    _bracket,
    _colon,
)
