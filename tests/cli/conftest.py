"""A scenario of the small world, as a file."""

from pathlib import Path

import pytest
from command_line import CAT, DOG

SCENARIO = f"""\
name: walk
world: WORLD
seed: 3
duration: 4 blocks
prompt: {CAT}
timeline:
  - {{at: block 2, prompt: {DOG}}}
"""


@pytest.fixture
def scenario(tmp_path: Path, small_world_folder: Path) -> str:
    file = tmp_path / "walk.yaml"
    file.write_text(SCENARIO.replace("WORLD", str(small_world_folder)), encoding="utf-8")
    return str(file)
