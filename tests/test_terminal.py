"""What programs tell a terminal can be typed there."""

import shlex

import pytest

from longlive_env.errors import install_hint
from longlive_env.terminal import as_command

WORDS = ["longlive", "run", "a b.yaml", "out\\takes\\c.yaml", ""]


def test_commands_are_those_of_the_systems_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert shlex.split(as_command(WORDS)) == WORDS
    monkeypatch.setattr("sys.platform", "win32")
    assert as_command(WORDS) == 'longlive run "a b.yaml" out\\takes\\c.yaml ""'


def test_what_installs_an_extra_is_the_same_in_all_shells() -> None:
    """That of Windows knows no single quotes; zsh wants brackets in quotes."""
    assert install_hint("rl").endswith('run: pip install -e ".[rl]"')
