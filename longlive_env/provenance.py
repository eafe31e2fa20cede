"""Where a measured figure comes from: commit, machine, versions and command."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
COMMIT_VARIABLE = "LONGLIVE_COMMIT"
PROBE = "probe.safetensors"  # stored beside the tiny world, but not part of it


def provenance(device: str = "cpu") -> dict[str, Any]:
    """JSON values that describe how to repeat a measurement.

    Args:
        device: the torch device it ran on.

    Raises:
        LongLiveError: the device cannot be used.
    """
    import torch

    from longlive_env import __version__
    from longlive_env.engine.devices import usable
    from longlive_env.terminal import as_command

    found: dict[str, Any] = {
        "commit": commit(),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "command": as_command([*_program(), *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": cpu_name(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "device": device,
    }
    if usable(device).type == "cuda":
        found["machine"]["gpu"] = torch.cuda.get_device_name(device)
        found["machine"]["cuda"] = torch.version.cuda
    return found


def _program() -> list[str]:
    """Return how the running program is called: by its name, or as a module of this package."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py" and PACKAGE in (path.parent, *path.parent.parents):
        return ["python", "-m", ".".join(path.parent.relative_to(PACKAGE.parent).parts)]
    return [path.name]


def hardware(machine: Mapping[str, Any]) -> str:
    """The GPU of the `machine` that `provenance` describes; without one, its CPU and how many threads."""
    threads = machine["threads"]
    return machine.get("gpu") or f"{machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}"


def files_digest(world: str) -> str:
    """A digest of all files of a world but its probe, independent of its folder.

    Args:
        world: name or folder of the world.

    Raises:
        ConfigError: there is no such preset or folder.
        WeightsError: the preset's folder is missing.
    """
    from longlive_env.engine.world_places import find

    folder = find(world)
    kinds = (".safetensors", ".json", ".pth", ".pt")
    return digest([path for path in folder.rglob("*") if path.suffix in kinds and path.name != PROBE])


def digest(paths: Iterable[Path]) -> str:
    """One hash of the names and contents of files."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.parts):  # Windows sorts paths without regard to case
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def commit() -> str | None:
    """The commit of the checkout that the package runs from, with `-dirty` if files differ.

    Without a checkout, such as in a copy without its history, the value of LONGLIVE_COMMIT, else None.
    """
    top = _git("rev-parse", "--show-toplevel")
    if (
        top is None
        or not (Path(top) / PACKAGE.name).exists()
        or not (Path(top) / PACKAGE.name).samefile(PACKAGE)
    ):
        return os.environ.get(COMMIT_VARIABLE) or None
    head = _git("rev-parse", "HEAD")
    return f"{head}-dirty" if head and _git("status", "--porcelain", "--untracked-files=no") else head


def cpu_name() -> str:
    """The processor's model, as far as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments],
            capture_output=True,
            encoding="utf-8",  # of git, whatever the system's own is
            errors="replace",  # names of files may be of any bytes
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
