"""`longlive warmup`: compiled once, found again."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import leaves_with

from longlive_env import World
from longlive_env.cli import main


def test_warm_up_compiles_a_world(small_world_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = ["--world", str(small_world_folder)]
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "off")
    assert status == 2 and "nothing to warm up" in err
    status, _, err = leaves_with(capsys, "warmup", *world, "--compile", "graphs")
    assert status == 2 and "CUDA graphs need a CUDA GPU" in err


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling for a CPU needs g++")
def test_a_second_warm_up_finds_what_the_first_has_compiled(
    small_world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In another process; kernels are looked up, not run, so the C++ compiler need not go over each."""
    kept, folder = tmp_path / "kept", tmp_path / "world"
    layer = replace(small_world.config.transformer, layers=1)
    changes = {"frames_per_block": 1, "context_frames": 1, "sink_frames": 0}  # the fewest kinds of steps
    world = World.from_config(replace(small_world.config, transformer=layer, **changes))
    world.tokenizer = small_world.tokenizer
    world.save(folder)
    command = ["warmup", "--world", str(folder)]
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(kept))
    from torch._dynamo.utils import counters
    from torch._inductor.async_compile import AsyncCompile

    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda *source: lambda *arguments: None)
    torch._dynamo.reset()
    counters.clear()
    assert main(command) == 0 and f"kept in {kept}" in capsys.readouterr().out
    compiled = counters["inductor"]["fxgraph_cache_miss"]
    code = (
        "import sys\n"
        "from torch._dynamo.utils import counters\n"
        "from torch._inductor.async_compile import AsyncCompile\n"
        "from longlive_env.cli import main\n"
        "AsyncCompile.cpp_pybinding = lambda *source: lambda *arguments: None\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print(counters['inductor']['fxgraph_cache_hit'], counters['inductor']['fxgraph_cache_miss'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert compiled > 1 and done.stdout.splitlines()[-1] == f"{compiled} 0"
