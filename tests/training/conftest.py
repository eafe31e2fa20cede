"""What the tests of training share."""

import pytest

from longlive_env.training import sheets


@pytest.fixture
def small_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of every run draws a sheet: of one rollout of two blocks, with a change before the second."""
    monkeypatch.setattr(sheets, "ROWS", 1)
    monkeypatch.setattr(sheets, "BLOCKS", 2)
