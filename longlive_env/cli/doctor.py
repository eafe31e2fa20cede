"""`longlive doctor`: report what is installed and what can run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib import metadata, util

import longlive_env
from longlive_env.cli.parser import Parser
from longlive_env.errors import LongLiveError, install_hint

REQUIRED = ("torch", "numpy", "safetensors", "gymnasium", "pyyaml", "av", "pillow", "tqdm", "ftfy")
EXTRAS = {  # extra -> modules that it brings, and what for
    "viewer": (("pygame", "websockets"), "longlive play, in a window or a browser; render_mode='human'"),
    "hub": (("huggingface_hub",), "download of the published weights"),
    "quant": (("torchao",), "fp8 and int8"),
    "flash": (("flash_attn",), "another attention kernel"),
    "rl": (
        ("stable_baselines3", "torchrl", "minari", "array_api_compat", "matplotlib"),
        "training of policies, datasets",
    ),
}
CUDNN_OF_3D = 91500  # the first that PyTorch trusts with 3D convolutions in half precision (its issue 166643)


def main(argv: Sequence[str]) -> int:
    """Parse the arguments and print the findings; status 1 if something required is missing."""
    parser = Parser(
        "longlive doctor",
        "Show versions, threads, attention backends, weights and optional extras.\n"
        "The exit status is 1 if anything that the tiny world needs is missing.",
        ("longlive doctor",),
    )
    parser.parse_args(argv)
    sound = True
    for title, lines in (
        ("versions", _versions()),
        ("machine", _machine()),
        ("attention", _backends()),
        ("video", _encoder()),
        ("weights", _weights()),
        ("extras", _extras()),
    ):
        print(title)
        for needed, name, finding in _whatever_happens(lines):
            print(f"  {name:<16} {finding}")
            sound = sound and needed
    return 0 if sound else 1


Finding = tuple[bool, str, str]  # whether it is fine, its name, and what was found


def _whatever_happens(lines: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the lines, up to one that fails because a package is missing or cannot be imported."""
    try:
        yield from lines
    except (ImportError, OSError) as error:
        yield False, "unknown", f"{type(error).__name__}: {error}"


def _versions() -> Iterator[Finding]:
    yield True, "longlive_env", longlive_env.__version__
    yield True, "python", platform.python_version()
    for name in REQUIRED:
        try:
            yield True, name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield False, name, f"missing; run: pip install {name}"


def _machine() -> Iterator[Finding]:
    import torch

    from longlive_env.engine.devices import WORTHWHILE, bfloat16_gain
    from longlive_env.provenance import cpu_name

    yield True, "cpu", f"{cpu_name()}, {torch.get_num_threads()} threads"
    gain = bfloat16_gain()
    faster = f"on the cpu {gain:.1f} times as fast as float32 in matrix products; try --precision bf16"
    yield True, "bfloat16", faster if gain > WORTHWHILE else "no faster than float32 on the cpu"
    if not torch.cuda.is_available():
        yield True, "gpu", "none that PyTorch can use"
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield True, f"cuda:{index}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if torch.cuda.is_available():
        yield True, "cudnn", _cudnn(torch.backends.cudnn.version())


def _cudnn(version: int | None) -> str:
    """What a version of cuDNN, such as 91900, means for the Wan VAE."""
    if version is None:
        return "absent; the Wan VAE will be slow"
    if version >= CUDNN_OF_3D:
        return str(version)
    return (
        f"{version}; PyTorch does without versions below {CUDNN_OF_3D} in 3D convolutions, so the Wan VAE is "
        "slow and needs much memory; install a newer nvidia-cudnn package, or use --codec light"
    )


def _backends() -> Iterator[Finding]:
    import torch

    from longlive_env.engine.attention import backends

    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        found = backends(device)
        yield bool(found), device, ", ".join(found)


def _encoder() -> Iterator[Finding]:
    import av

    present = "libx264" in av.codecs_available
    yield present, "libx264", "present" if present else "missing; install the av wheels from PyPI"


def _weights() -> Iterator[Finding]:
    from longlive_env.engine import published
    from longlive_env.engine.config import PRESETS, SHIPPED
    from longlive_env.engine.world_files import CONFIG_FILE
    from longlive_env.engine.world_places import find
    from longlive_env.hub.sources import SOURCES

    for name in sorted(PRESETS, key=lambda name: name not in SHIPPED):
        try:
            folder = find(name)
        except LongLiveError as error:
            yield name not in SHIPPED, name, f"absent: {error}"
            continue
        if (folder / CONFIG_FILE).is_file():
            yield True, name, f"{folder}"
        elif name in SHIPPED:
            yield False, name, f"{folder} has no {CONFIG_FILE}; install it again"
        else:
            missing = [one.path for one in SOURCES[name] if published.locate(folder, one.path) is None]
            files = ", ".join(map(str, missing))
            remedy = f"{folder} lacks {files}; go on with: longlive download {name}"
            yield True, name, remedy if missing else f"{folder}"


def _extras() -> Iterator[Finding]:
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if util.find_spec(module) is None]
        if not missing:
            yield True, extra, f"present ({purpose})"
            continue
        remedy = install_hint(extra) + (" --no-build-isolation" if extra == "flash" else "")
        finding = "absent" if missing == list(modules) else f"without {', '.join(missing)}"
        yield True, extra, f"{finding} ({purpose}); {remedy}"
