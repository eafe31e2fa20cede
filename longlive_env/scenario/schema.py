"""YAML with line numbers: errors name file, line, key and the closest valid key."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, TypeVar

import yaml

from longlive_env.envs.spaces import is_allowed
from longlive_env.errors import ScenarioError
from longlive_env.scenario.slips import BEGINS, slip

Word = TypeVar("Word", bound=str)

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SIGNED = re.compile(r"[+-]?\d+")
_TYPE = re.compile(r"!!(?:str|int|float|bool|null|seq|map)\b|!<")
_LONGEST_NUMBER = 100  # characters
MERGE = "<<"  # the key by which YAML takes over those of another table
CURLY = ("“", "‘", "„")  # quotes of printed text, which mean nothing in YAML
CLOSING = "”’“‘"
MOST_NODES = 100_000  # of a file, with what its aliases stand for
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
    def is_nothing(self) -> bool:
        """Whether nothing stands behind its key."""
        return _is_nothing(self.node)

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
        if not _SIGNED.fullmatch(text):
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
            if name == MERGE:
                here.fail(f"merging with {MERGE} is not supported; write the keys out")
            if valid is not None and name not in valid:
                remedy = advice(name, valid)
                if self.node.flow_style and _is_nothing(node):  # what follows a comma within {...}
                    remedy = _remedy_within_braces(name, valid, list(found.values())[-1:])
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


def _remedy_within_braces(name: str, valid: Collection[str], before: Sequence[Value]) -> str:
    """What to write instead of a key without a value; `before` holds the value before it, if there is one."""
    key, colon, rest = name.partition(":")
    if colon and key in valid:
        return f"a space is missing behind the colon; write {key}: {rest}"
    if any(value.is_text and str(value.node.value).startswith(CURLY) for value in before):
        return f'put the text before it in straight quotes, such as "..., {name.rstrip(CLOSING)}"'
    return f'put a text that holds a comma in quotes, such as "..., {name}"'


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
    except yaml.YAMLError as error:
        line, told = slip(text, error)
        raise ScenarioError(f"{file}:{line}: not valid YAML: {told}") from error
    if "!" in text:
        _refuse_tags(text, file)
    if node is None:
        return None
    root = Value(node, file, name)
    _size(root, {}, frozenset())
    return root


def _size(value: Value, sizes: dict[yaml.Node, int], around: frozenset[yaml.Node]) -> int:
    """How many values a node holds, with what its aliases stand for.

    Args:
        value: the node.
        sizes: sizes that are known, which this adds to.
        around: nodes that the node is in.

    Raises:
        ScenarioError: it holds itself, or more than `MOST_NODES`.
    """
    node = value.node
    if node in around:
        value.fail("an alias within this stands for all of it, without end; write it out")
    if node not in sizes:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        within = around | {node} if parts else around
        sizes[node] = 1 + sum(_size(replace(value, node=part), sizes, within) for part in parts)
        if sizes[node] > MOST_NODES:
            value.fail(f"this holds more than {MOST_NODES:,} values, with its aliases; write less")
    return sizes[node]


def _refuse_tags(text: str, file: str) -> None:
    """Fail if a text begins with `!`, which makes a tag of its first word, so that it would be lost."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if not isinstance(token, yaml.TagToken):
            continue
        mark = token.start_mark
        tag = text[mark.index :].split(maxsplit=1)[0]
        if not _TYPE.match(tag):
            condition = text[: mark.index].rstrip().endswith("when:")
            remedy = "in a condition, write not instead of !" if condition else BEGINS.format("!")
            raise ScenarioError(f"{file}:{mark.line + 1}: {tag!r} is read as a tag; {remedy}")


def within_braces(key: str, text: str) -> str:
    """A key and its text as YAML within braces, with quotes where they are needed."""
    return str(
        yaml.safe_dump({key: text}, default_flow_style=True, allow_unicode=True, width=math.inf)
    ).strip()


def advice(got: str, valid: Collection[str]) -> str:
    """What to write instead of `got`: the closest valid name, or all of them; both if there are few."""
    lower = {name.lower(): name for name in valid}
    near = [lower[name] for name in difflib.get_close_matches(got.lower(), lower, n=1)]
    listed = f"valid: {', '.join(valid)}"
    if not near:
        return listed
    return f"did you mean {near[0]!r}?" + (f" ({listed})" if len(valid) <= FEW else "")
