"""The items for a GPU run on a CPU at small sizes, so that no GPU time is lost to a slip."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def agenda() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "gpu_agenda.py"
    spec = importlib.util.spec_from_file_location("gpu_agenda", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("item", ["check", "profile"])
def test_items_run_small(agenda: ModuleType, item: str, tmp_path: Path) -> None:
    arguments = [item, "--small", "--device", "cpu", "--blocks", "2", "--out", str(tmp_path)]
    assert agenda.main(arguments) == 0
    written = json.loads((tmp_path / f"{item}.json").read_text())
    assert "machine" in written
    if item == "check":
        assert written["finite"] and 0 < written["relative_error_bf16"] < agenda.CLOSE
        assert len(written["block_ms"]) == 2
    else:
        assert written["by_kind_ms"]["linear"] > 0 and written["matrix_tflops"] > 0


def test_a_failure_is_a_result(agenda: ModuleType) -> None:
    def fails() -> dict[str, object]:
        raise RuntimeError("out of memory")

    assert agenda._attempt(fails) == {"error": "RuntimeError: out of memory"}
