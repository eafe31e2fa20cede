"""`longlive warmup`: compiled once, found again."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import leaves_with

from longlive_env import World


def test_warm_up_compiles_a_world(small_world_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = ["--world", str(small_world_folder)]
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "off")
    assert status == 2 and "argument --compile: invalid choice: 'off'" in err
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "graphs")
    assert status == 2 and "CUDA graphs need a CUDA GPU" in err


# Kernels are looked up, not run: the C++ compiler need not go over them, nor find out what vectors there are.
LOOKED_UP = """
import sys
from torch._dynamo.utils import counters
from torch._inductor.async_compile import AsyncCompile
from longlive_env.cli import main

AsyncCompile.cpp_pybinding = lambda *source: lambda *arguments: None
assert main(sys.argv[1:]) == 0
found = counters["inductor"]
print(found["fxgraph_cache_miss"], found["fxgraph_cache_hit"])
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_second_warm_up_finds_what_the_first_has_compiled(
    small_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, folder = tmp_path / "kept", tmp_path / "world"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(kept))
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")
    layer = replace(small_world.config.transformer, layers=1)
    changes = {"frames_per_block": 1, "context_frames": 1, "sink_frames": 0}  # the fewest kinds of steps
    world = World.from_config(replace(small_world.config, transformer=layer, **changes))
    world.tokenizer = small_world.tokenizer
    world.save(folder)
    counts = []
    for _ in range(2):
        command = [sys.executable, "-c", LOOKED_UP, "warmup", "--world", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0 and f"kept in {kept}" in done.stdout, done.stderr
        counts.append([int(count) for count in done.stdout.splitlines()[-1].split()])
    (compiled, _), again = counts
    assert compiled > 1 and again == [0, compiled]
