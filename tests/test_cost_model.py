"""The computed tables of docs/performance.md are those that the engine gives."""

from functools import cache
from pathlib import Path

import pytest
from scripts import benchmark

cost_model = benchmark("cost_model")
cost_model.TABLES.update({name: cache(made) for name, made in cost_model.TABLES.items()})


@pytest.mark.parametrize("name", cost_model.TABLES)
def test_the_page_is_in_step(name: str) -> None:
    page = cost_model.PAGE.read_text(encoding="utf-8")
    assert cost_model.rewrite(page, [name]) == page, "run: python benchmarks/cost_model.py"


def test_a_page_out_of_step_is_seen() -> None:
    page = cost_model.PAGE.read_text(encoding="utf-8")
    stale = page.replace("28.30 T", "28.31 T")
    assert stale != page and cost_model.rewrite(stale, ["operations"]) == page


def test_a_check_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    stale = cost_model.PAGE.read_text(encoding="utf-8").replace("28.30 T", "28.31 T")
    page.write_text(stale, encoding="utf-8")
    monkeypatch.setattr(cost_model, "PAGE", page)
    assert cost_model.main(["--check"]) == 1 and page.read_text(encoding="utf-8") == stale
    assert cost_model.main([]) == 0 and cost_model.main(["--check"]) == 0
