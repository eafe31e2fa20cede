"""Slips in the layout of YAML: spaces, colons and indentation."""

from __future__ import annotations

import re

from longlive_env.scenario.mistake import Mistake, Told, short

KEY = re.compile(r"\s*(?:-\s+)*(?P<key>[\w-]+)\s*:(?:\s|$)")
_GLUED_KEY = re.compile(r"\s*(?:-\s+)*(?P<key>[^\W\d]\w*):(?P<rest>[^\s/].*)")
DASH = re.compile(r"\s*-\s")
_GLUED_DASH = re.compile(r"\s*-(?=\{|\[|\w[\w-]*:)(?P<rest>.*)")


def no_space(found: Mistake) -> Told:
    """A key without a space behind its colon, or a dash without one behind it, here or on the line above."""
    mapping, simple = (found.problem.startswith(start) for start in ("mapping values", "could not find"))
    if not (mapping or simple or found.problem.startswith("expected <block end>")):
        return None
    at = found.begin.line if simple else found.line
    key = KEY.match(found.lines[at])
    first = mapping and key is not None and found.mark.column < key.end()  # colon of its line
    for number, line in [(at, found.lines[at]), *found.above(at)][: 1 + first]:
        if match := _GLUED_DASH.fullmatch(line):
            remedy = f"write - {short(match['rest'])}"
            return number + 1, f"{short(line.strip())!r} has no space behind the dash; {remedy}"
        if (mapping or simple) and (match := _GLUED_KEY.fullmatch(line)):
            remedy = f"write {match['key']}: {short(match['rest'])}"
            return number + 1, f"{short(line.strip())!r} has no space behind the colon; {remedy}"
    return None


def no_colon(found: Mistake) -> Told:
    """A line that has no colon where a key belongs."""
    if found.problem.startswith("could not find expected ':'"):
        number, line = found.begin.line, found.lines[found.begin.line]
        told = f"{short(line.strip())!r} has no colon behind its key"
        return number + 1, f"{told}; write KEY: VALUE, or indent it more if the text above goes on"
    if found.problem != "mapping values are not allowed here":
        return None
    rest = list(found.above(found.line))
    if not rest or ":" in rest[0][1]:
        return None
    number, line = rest[0]
    first = len(rest) == 1 and _column(line) == _column(found.lines[found.line])
    entry = DASH.match(line) and _column(line) == _column(found.lines[found.line])
    if not (first or entry):
        return None
    return number + 1, f"{short(line.strip())!r} has no colon behind its key; write KEY: VALUE"


def indented(found: Mistake) -> Told:
    """A key, or the dash of an entry, that does not stand below the others."""
    line = found.lines[found.line]
    dash = found.problem.startswith("expected <block end>") and bool(DASH.match(line))
    key = KEY.match(line)
    if found.problem.startswith("mapping values"):
        if key is None or found.mark.column >= key.end():
            return None
    elif not re.search("but found '(<block .* start>|[?]|<block entry>)'", found.problem):
        return None
    if not dash and key is None:
        return None
    at = indentation(line) if dash else _column(line)
    fits, low = [], at + 1000
    for number, above in found.above(found.line):  # those that hold this one, or stand beside it
        if not (DASH.match(above) if dash else KEY.match(above)):
            continue
        column = indentation(above) if dash else _column(above)
        if column < low:
            fits.append((number, above, column))
            low = column
    if not fits:
        return None
    number, above, column = min(fits, key=lambda one: abs(one[2] - at))
    if column == at:
        return None
    name, like = ("-", "the '-'") if dash else (key_of(line), repr(key_of(above)))
    return found.line + 1, (
        f"{name!r} is indented by {counted(at)}, which fits nothing above it; write {column}, "
        f"like {like} in line {number + 1}"
    )


def _column(line: str) -> int:
    """Where the text of a line begins, behind the dashes of entries."""
    match = re.match(r"\s*(?:-\s+)*", line)
    return match.end() if match else 0


def indentation(line: str) -> int:
    """How many spaces a line begins with."""
    return len(line) - len(line.lstrip())


def key_of(line: str) -> str:
    """The key that a line begins with; the whole line if it does not."""
    match = KEY.match(line)
    return match["key"] if match else line.strip()


def counted(spaces: int) -> str:
    """A number of spaces in words."""
    return f"{spaces} space{'s' * (spaces != 1)}"
