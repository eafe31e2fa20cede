"""What is listed of a stage's options."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

from longlive_env.training.command import run_stage
from longlive_env.training.option_list import option_lines
from longlive_env.training.stages import STAGES, stage_class


@dataclass(frozen=True)
class Plain:
    """Options.

    Attributes:
        width: number of columns, as in 2.5 of
            them; 0 for none. More is slower.
        names: to greet.

    Raises:
        ValueError: never.
    """

    width: int = 3
    names: tuple[str, ...] = ("a", "b")


@dataclass(frozen=True)
class Derived(Plain):
    """Options, of which one is explained anew.

    Attributes:
        names: names of guests.
    """

    width: int = 5
    quiet: bool = False


def test_a_field_comes_with_type_default_and_the_first_sentence_of_the_nearest_class() -> None:
    assert list(option_lines(Derived)) == [
        "  width: int = 5",
        "      number of columns, as in 2.5 of them; 0 for none",
        '  names: tuple[str, ...] = ["a", "b"]',
        "      names of guests",
        "  quiet: bool = false",
    ]


def test_without_docstrings_names_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `python -OO`."""
    monkeypatch.setattr(Plain, "__doc__", None)
    assert list(option_lines(Plain)) == ["  width: int = 3", '  names: tuple[str, ...] = ["a", "b"]']


@pytest.mark.parametrize("stage", STAGES)
def test_every_option_of_every_stage_is_explained(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stage([stage, "--options"]) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"options of the {stage} stage, for --set NAME=VALUE:"
    own = fields(stage_class(stage).options_type)
    names = [number for number, line in enumerate(lines) if not line.startswith("      ")]
    assert [lines[number].partition(":")[0].strip() for number in names] == [field.name for field in own]
    assert all(lines[number + 1].startswith("      ") for number in names)
