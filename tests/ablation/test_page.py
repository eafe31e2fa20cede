"""The page of a study: what was measured is in it, what a hand wrote stays, pictures are small."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from longlive_env.ablation import VARIANTS, Study, StudyConfig, page, tables
from longlive_env.ablation.chart import Line, Panel, _ticks, draw
from longlive_env.ablation.strips import LARGEST_BYTES, Example, save_small
from longlive_env.ablation.strips import draw as draw_strips
from longlive_env.cli import main
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig
from longlive_env.intervals import Estimate, Share

COMMAND = "longlive eval --ablation"


@pytest.fixture(scope="module")
def study(small_world_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    config = StudyConfig(
        str(small_world_folder), EvalConfig(rollouts=4, blocks=6, batch=4), seconds=21.0, long_rollouts=4
    )
    variants = tuple(one for one in VARIANTS if one.name in ("recache", "stale cache", "sink 3", "sink 0"))
    study = Study(tmp_path_factory.mktemp("study"), config, variants)
    study.run()
    return study


def test_a_page_has_tables_and_pictures(study: Study, tmp_path: Path) -> None:
    found = page.write(tmp_path, study, COMMAND).read_text(encoding="utf-8")
    rows = [line.split("|")[1:-1] for line in found.splitlines() if line.startswith("| sink 0")]
    assert len(rows) == 4  # in short, switches, long takes, look
    assert all("–" not in cell for row in rows[:3] for cell in row) and rows[0][1] == " 4, 4 "
    assert "Up to 4 rollouts of one prompt each, 21 seconds." in found and "$" not in found
    assert COMMAND in found and study.files_digest in found
    assert f"The world's own are {study.steps}." in found
    pictures = [line.split("(")[-1].rstrip(")") for line in found.splitlines() if line.startswith("![")]
    assert pictures == [
        "images/world-quality-switch-prompt-switch.jpg",
        "images/world-quality-switch-context.jpg",
        "images/world-quality-long-context.png",
        "images/world-quality-frames-context.jpg",
    ]
    for name in pictures:
        assert (tmp_path / name).stat().st_size <= 150_000
        Image.open(tmp_path / name).verify()


def test_rows_without_their_frames_keep_the_pictures_of_the_page(study: Study, tmp_path: Path) -> None:
    """Rows belong to the repository, frames do not: a page written again from rows alone loses no picture."""
    before = page.write(tmp_path / "docs", study, COMMAND).read_text(encoding="utf-8")
    kept = {one.name: one.read_bytes() for one in (tmp_path / "docs/images").glob("*.jpg")}
    for rows in study.folder.glob("*.json"):
        shutil.copy(rows, tmp_path)
    again = Study(tmp_path, study.config, study.variants)
    assert page.write(tmp_path / "docs", again, COMMAND).read_text(encoding="utf-8") == before
    assert {one.name: one.read_bytes() for one in (tmp_path / "docs/images").glob("*.jpg")} == kept
    elsewhere = page.write(tmp_path / "elsewhere", again, COMMAND).read_text(encoding="utf-8")
    assert ".jpg" not in elsewhere and ".png" in elsewhere  # charts are drawn from rows


def test_findings_stay(study: Study, tmp_path: Path) -> None:
    written = page.write(tmp_path, study, COMMAND)
    text = written.read_text(encoding="utf-8")
    assert text.count(page.BEGIN) == text.count(page.END) == 1
    written.write_text(text.replace(page.END, "The sink **matters** $5.\n\n" + page.END), encoding="utf-8")
    again = page.write(tmp_path, study, COMMAND).read_text(encoding="utf-8")
    assert "The sink **matters** $5.\n\n" + page.END in again


@pytest.mark.parametrize("lost", [[page.BEGIN], [page.END], [page.BEGIN, page.END]])
def test_findings_without_a_mark_are_not_lost(study: Study, tmp_path: Path, lost: list[str]) -> None:
    written = page.write(tmp_path, study, COMMAND)
    damaged = written.read_text(encoding="utf-8")
    for mark in lost:
        damaged = damaged.replace(mark, "The sink matters.")
    written.write_text(damaged, encoding="utf-8")
    with pytest.raises(ConfigError, match="missing or misplaced; put it back"):
        page.write(tmp_path, study, COMMAND)
    assert written.read_text(encoding="utf-8") == damaged


def test_what_is_not_measured_is_a_dash(study: Study, tmp_path: Path) -> None:
    empty = Study(tmp_path, replace(study.config, eval=replace(study.config.eval, seed=1)), study.variants)
    found = page.write(tmp_path, empty, COMMAND).read_text(encoding="utf-8")
    assert "| recache | –, – | – | – | – | – |" in found and "![" not in found


def test_the_command(small_world_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, docs = tmp_path / "out", tmp_path / "docs"
    common = ["eval", "--world", str(small_world_folder), "--rollouts", "1", "--blocks", "6"]
    assert main([*common, "--rendered", "1", "--by-value", "--out", str(out)]) in (0, 1)
    assert "read as" in capsys.readouterr().out
    arguments = [*common, "--ablation", "--out", str(out), "--docs", str(docs), "--only", "recache", "1 step"]
    for _ in range(2):
        assert main(arguments) == 0
        assert "| stale cache | –, – | – |" in capsys.readouterr().out
    written = json.loads((out / "ablation.json").read_text())
    known = {one["variant"]: one["switch"] for one in written["variants"]}
    assert known["1 step"]["rollouts"] == 1 and known["4 steps"] is None
    text = (docs / "world-quality.md").read_text(encoding="utf-8")
    assert "--only" not in text  # the page names the command that measures everything
    assert "second block after the switch" in text  # the table of `longlive eval`, of the same world
    assert main([*arguments, "--other", "before"]) == 2
    assert "NAME=FOLDER" in capsys.readouterr().err


def test_figures_in_cells() -> None:
    assert tables.share(Share(8, 10)) == "80 % (49 to 94)"
    assert tables.times(Estimate(1.4, (1.2, 1.7), 8)) == "1.40 (1.20 to 1.70)"
    assert tables.times(Estimate(1.4, None, 2)) == "1.40"
    assert tables.points(Estimate(-3.1, (-6, 0.2), 8)) == "-3.1 (-6.0 to +0.2)"
    assert tables.percent(Estimate(0.1, (-0.2, 0.3), 8), signed=True) == "+10 % (-20 to +30)"


def test_charts_draw_lines_where_they_belong() -> None:
    line = Line("a", [0.0, 10.0], [0.5, 0.5], [0.4, 0.4], [0.6, 0.6])
    picture = draw([Panel("flat", [line], (0.0, 1.0))], "seconds")
    blue = [
        y
        for y in range(picture.height - 40)
        for red, green, blue in [picture.getpixel((200, y))]
        if blue > red + 90
    ]
    assert len(blue) <= 4  # one line, two pixels thick
    assert abs(sum(blue) / len(blue) - (26 + 176) / 2) < 2  # half-way between the ends of the axis
    assert _ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1] and _ticks(0.031, 0.049)[0] >= 0.031


def test_strips_leave_out_what_is_missing(tmp_path: Path) -> None:
    Image.new("RGB", (80, 20), "red").save(tmp_path / "a.png")
    Image.new("RGB", (40, 20), "blue").save(tmp_path / "short.png")
    strips = [("a", tmp_path / "a.png"), ("short", tmp_path / "short.png"), ("none", tmp_path / "none.png")]
    picture = draw_strips([Example("one", strips)], ["0 s", "1 s", "2 s", "3 s"])
    assert picture is not None and picture.width > 80 and 40 < picture.height < 100
    assert draw_strips([Example("none", strips[2:])], ["0 s"]) is None


def test_pictures_are_made_small(tmp_path: Path) -> None:
    noise = Image.effect_noise((900, 700), 80).convert("RGB")
    save_small(noise, tmp_path / "noise.jpg")
    assert (tmp_path / "noise.jpg").stat().st_size <= LARGEST_BYTES
