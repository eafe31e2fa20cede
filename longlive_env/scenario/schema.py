"""YAML with line numbers: errors name file, line, key and the closest valid key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import yaml

from longlive_env.envs.spaces import is_allowed
from longlive_env.errors import ScenarioError

Word = TypeVar("Word", bound=str)

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_LONGEST_NUMBER = 100  # characters
FEW = 12  # names that a message lists although one of them is close to what was written


@dataclass(frozen=True)
class Value:
    """One node of a YAML file, and where it is."""

    node: yaml.Node
    file: str
    name: str  # what messages call it
    required: bool = False  # whether it stands under a key that cannot be left out

    @property
    def line(self) -> int:
        """Line in the file, counted from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.line}"

    def fail(self, message: str) -> NoReturn:
        """Raise `ScenarioError` about this place."""
        raise ScenarioError(f"{self.place}: {message}")

    @property
    def is_text(self) -> bool:
        """Whether it is a single value rather than a list or a table."""
        return isinstance(self.node, yaml.ScalarNode)

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    def keys(self) -> list[str]:
        """The keys of a table as written, unchecked; none if it is not a table."""
        return (
            [str(key.value) for key, _ in self.node.value] if isinstance(self.node, yaml.MappingNode) else []
        )

    def text(self, expected: str = "a text", such_as: str = '"..."') -> str:
        """A non-empty text; the error message says what was `expected`, and what to write."""
        if not isinstance(self.node, yaml.ScalarNode) or _is_nothing(self.node):
            self.fail(f"{self.name} is not {expected}; write {self.name}: {such_as}")
        text = " ".join(str(self.node.value).split())  # a text may be folded over lines
        if not text:
            self.fail(f"{self.name} is empty; write something{'' if self.required else ' or leave it out'}")
        return text

    def plain(self) -> str:
        """A text without control characters, which no terminal, picture or log takes well."""
        text = self.text()
        for character in text:
            if not is_allowed(character):
                code = f"U+{ord(character):04X}"
                self.fail(f"{self.name} holds the control character {code}; leave it out, or write a space")
        return text

    def path(self) -> str:
        """The name of a file, with its spaces unchanged."""
        self.text()  # which fails where there is none
        return str(self.node.value).strip()

    def integer(self, expected: str = "a whole number such as 7") -> int:
        """A whole number from 0 on; the error message says what was `expected`."""
        text = self._digits()
        if not text.isdecimal():
            self.fail(f"{self.name} is {text!r}; expected {expected}")
        return int(text)

    def signed(self) -> int:
        """A whole number, which may be negative."""
        text = self._digits()
        if not text.removeprefix("-").removeprefix("+").isdecimal():
            self.fail(f"{self.name} is {text!r}; expected a whole number such as 7 or -7")
        return int(text)

    def number(self) -> float:
        """A number from 0 on."""
        text = self._digits()
        if not _NUMBER.fullmatch(text):
            self.fail(f"{self.name} is {text!r}; expected a number such as 2 or 0.5")
        return float(text)

    def _digits(self) -> str:
        """A text that is short enough to be a number."""
        text = self.text("a number", "7")
        if len(text) > _LONGEST_NUMBER:
            self.fail(f"{self.name} has {len(text)} characters; expected {_LONGEST_NUMBER} at most")
        return text

    def choice(self, choices: Sequence[Word]) -> Word:
        """One of `choices`."""
        text = self.text()
        for known in choices:
            if known == text:
                return known
        self.fail(f"{self.name} is {text!r}; {advice(text, choices)}")

    def items(self) -> list[Value]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.fail(f"{self.name} is not a list; begin each entry with '- '")
        return [Value(node, self.file, f"{self.name}[{i}]") for i, node in enumerate(self.node.value)]

    def table(
        self, *, required: Iterable[str] = (), optional: Iterable[str] | None = (), called: str = ""
    ) -> dict[str, Value]:
        """The entries of a table by key.

        Args:
            required: keys that the table must have.
            optional: further keys that it may have; None allows any.
            called: what messages call a key, if it stands for something else.
        """
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"{self.name} is not a table of keys and values")
        required = list(required)
        valid = None if optional is None else [*required, *optional]
        found: dict[str, Value] = {}
        for key, node in self.node.value:
            here = Value(key, self.file, "a key")
            name = here.text()
            if valid is not None and name not in valid:
                remedy = advice(name, valid)
                if self.node.flow_style and _is_nothing(node):  # what follows a comma within {...}
                    remedy = f'put a text that holds a comma in quotes, such as "..., {name}"'
                unknown = (
                    f"there is no {called} {name!r}" if called else f"unknown key {name!r} in {self.name}"
                )
                here.fail(f"{unknown}; {remedy}")
            if name in found:
                here.fail(f"key {name!r} comes twice in {self.name}; keep one")
            found[name] = Value(node, self.file, name, name in required)
        for name in required:
            if name not in found:
                self.fail(f"{self.name} lacks the key {name!r}; add {name}: ...")
        return found


def _is_nothing(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")


def parse(text: str, file: str, name: str) -> Value:
    """The root of a YAML text.

    Args:
        text: the YAML.
        file: name of the file, for messages.
        name: what messages call the root.

    Raises:
        ScenarioError: the text is not YAML, or empty.
    """
    root = parse_any(text, file, name)
    if root is None:
        raise ScenarioError(f"{file}:1: the file is empty; see `longlive scenarios` for examples")
    return root


def parse_any(text: str, file: str, name: str) -> Value | None:
    """Like `parse`, but None for a text that is empty except for comments."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        hint = _hint(error)
        begin = error.context_mark
        flow = (error.context or "").startswith("while parsing a flow")
        if begin is not None and flow and _cut_off(text[begin.index :].partition("\n")[0]):
            line, hint = begin.line + 1, "; put a text that holds a # in quotes"
        raise ScenarioError(f"{file}:{line}: not valid YAML: {error.problem}{hint}") from error
    except yaml.YAMLError as error:
        raise ScenarioError(f"{file}:1: not valid YAML: {' '.join(str(error).split())}") from error
    return None if node is None else Value(node, file, name)


def _hint(error: yaml.MarkedYAMLError) -> str:
    """The usual remedy for a mistake in YAML, to follow its description; "" if there is none."""
    problem = error.problem or ""
    if problem == "mapping values are not allowed here" or problem.endswith("but got ':'"):
        return '; put a text that holds a colon in quotes, such as "night: a robot", or check the indentation'
    if "'\\t'" in problem:
        return "; indent with spaces, not with tabs"
    return ""


def _cut_off(line: str) -> bool:
    """Whether a comment begins within a text of {...} or [...], and hides how that ends."""
    before, mark, _ = line.partition(" #")
    opened = before.count("{") + before.count("[") > before.count("}") + before.count("]")
    return bool(mark) and opened and not before.rstrip().endswith((",", "{", "["))


def advice(got: str, valid: Collection[str]) -> str:
    """What to write instead of `got`: the closest valid name, or all of them; both if there are few."""
    near = difflib.get_close_matches(got, valid, n=1)
    listed = f"valid: {', '.join(valid)}"
    if not near:
        return listed
    return f"did you mean {near[0]!r}?" + (f" ({listed})" if len(valid) <= FEW else "")
