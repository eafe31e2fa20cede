import torch
from PIL import Image

from longlive_env.engine.config import PRESETS
from longlive_env.engine.cost import block_cost
from longlive_env.roofline import draw, roofline

CPU = torch.device("cpu")


def test_shares_follow_from_operations_bytes_and_times(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("longlive_env.roofline.matrix_rate", lambda *_: 1e12)
    monkeypatch.setattr("longlive_env.roofline.memory_rate", lambda *_: 1e10)
    config = PRESETS["tiny"]
    cost = block_cost(config, torch.float32)
    one, many = (roofline(config, worlds, CPU, torch.float32, 100.0, 50.0) for worlds in (1, 16))
    part = one["parts"]["transformer"]
    assert part["of_matrix_ceiling"] == round(cost.transformer / 0.1 / 1e12, 4)
    assert part["operations_a_byte"] == round(cost.transformer / cost.transformer_bytes, 1)
    assert part["of_memory_ceiling"] == round(cost.transformer_bytes / 0.1 / 1e10, 4)
    assert one["parts"]["decode"]["of_matrix_ceiling"] == round(cost.decode / 0.05 / 1e12, 4)
    wide = many["parts"]["transformer"]
    assert wide["of_matrix_ceiling"] > 15.9 * part["of_matrix_ceiling"]
    assert wide["operations_a_byte"] > part["operations_a_byte"], "weights are read once for all worlds"
    draw(one, "a title", tmp_path / "folder" / "roofline.png")
    picture = Image.open(tmp_path / "folder" / "roofline.png")
    assert len(picture.getcolors(1 << 20)) > 20


def test_ceilings_are_measured() -> None:
    figures = roofline(PRESETS["tiny"], 1, CPU, torch.float32, 1e5, 1e5)
    assert figures["matrix_tflops"] > 0.001 and figures["memory_gb_s"] > 0.1
    assert 0 < figures["parts"]["transformer"]["of_matrix_ceiling"] < 1
