"""Imports point one way; the engine knows nothing of the rest and needs torch, numpy, safetensors alone."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOMES = {"longlive_env": ROOT / "longlive_env", "agents": ROOT / "agents", "scenarios": ROOT / "scenarios"}

# What each part may import of the package, itself and `errors` aside. A part that is missing here fails.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "frames": set(),
    "engine": set(),
    "tiny": set(),
    "hub": {"engine"},
    "envs": {"engine", "frames", "intervals", "provenance", "recording", "tiny"},
    "training": {"engine", "terminal", "tiny"},
    "recording": {"engine", "frames"},
    "scenario": {"engine", "envs", "frames", "recording"},
    "scenarios": set(),
    "provenance": {"engine", "terminal"},
    "intervals": set(),
    "evaluate": {"engine", "frames", "intervals", "tiny"},
    "short_prompts": {"engine", "evaluate", "intervals", "tiny"},
    "long_take": {"engine", "evaluate", "intervals", "tiny"},
    "precisions": {"engine", "evaluate", "tiny"},
    "ablation": {"engine", "evaluate", "frames", "intervals", "long_take", "provenance", "tiny"},
    "roofline": {"engine"},
    "terminal": set(),
    "bench": {"engine", "envs", "roofline", "scenario", "viewer"},
    "verify": {"engine"},
    "viewer": {"engine", "envs", "frames", "recording", "scenario", "scenarios", "terminal"},
    "agents": {"engine", "envs", "frames", "scenario", "tiny"},
    "__init__": {"engine", "envs"},
}
PUBLIC = {"World", "Rollout", "__version__"}  # of the package itself
ENTRY_POINTS = {"cli", "__main__"}  # these import everything

# Third-party packages that a module may import when it loads; others belong inside functions.
CORE = {"torch", "numpy", "safetensors"}
EAGER: dict[str, set[str]] = {
    "errors": set(),
    "engine": CORE,
    "training": CORE,
    "tiny": {"torch", "numpy"},
    "roofline": CORE,
    "bench": CORE,
}


# Modules that load a library of their own, when it is there and asked for.
ON_DEMAND = {"longlive_env.engine.triton_kernels": {"triton"}}


@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the package by its installed name."""
    found = {}
    for package, home in HOMES.items():
        prefix = () if package == "longlive_env" else (package,)
        for path in sorted(home.rglob("*.py")):
            found[".".join(("longlive_env", *prefix, *path.relative_to(home).with_suffix("").parts))] = path
    return found


def part_of(module: str) -> str:
    """`longlive_env.engine.codec` -> `engine`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(nodes: Iterator[ast.AST], module: str) -> Iterator[str]:
    """Absolute names of what import statements among `nodes` bring in."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            assert node.module is not None
            if node.module == "longlive_env":  # `from longlive_env import engine`
                yield from (f"longlive_env.{alias.name}" for alias in node.names)
            else:
                yield node.module


def at_load(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when the module loads: not function bodies, not `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from (child for other in node.orelse for child in (other, *at_load(other)))
            continue
        yield node
        yield from at_load(node)


@pytest.mark.parametrize("module", sources())
def test_imports_point_one_way(module: str) -> None:
    part = part_of(module)
    if part in ENTRY_POINTS:
        return
    allowed = MAY_IMPORT[part] | {part, "errors"}
    tree = ast.parse(sources()[module].read_text(encoding="utf-8"))
    ours = {name for name in imported(ast.walk(tree), module) if name.split(".")[0] == "longlive_env"}
    wrong = {name for name in ours if part_of(name) not in allowed | PUBLIC}
    assert not wrong, f"{module} imports {sorted(wrong)}; {part} may import {sorted(allowed)}"


@pytest.mark.parametrize("module", [name for name in sources() if part_of(name) in EAGER])
def test_light_parts_load_light(module: str) -> None:
    part = part_of(module)
    tree = ast.parse(sources()[module].read_text(encoding="utf-8"))
    tops = {name.split(".")[0] for name in imported(at_load(tree), module)} - sys.stdlib_module_names
    wrong = tops - EAGER[part] - {"longlive_env"} - ON_DEMAND.get(module, set())
    assert not wrong, f"{module} loads {sorted(wrong)}; {part} may load {sorted(EAGER[part])}"


def test_the_rules_can_fail() -> None:
    tree = ast.parse(
        "import yaml\nclass A:\n    import av\ndef f():\n    import pygame\nfrom longlive_env import hub"
    )
    assert set(imported(at_load(tree), "m")) == {"yaml", "av", "longlive_env.hub"}
    assert set(imported(ast.walk(tree), "m")) == {"yaml", "av", "pygame", "longlive_env.hub"}


BLOCKED_IMPORT = """
import importlib, importlib.metadata as metadata, pkgutil, re, sys

def flat(name):
    return name.lower().replace("-", "_")

needed, queue = set(), ["torch", "numpy", "safetensors"]
while queue:  # what torch itself depends on is needed too
    name = flat(queue.pop())
    if name in needed:
        continue
    needed.add(name)
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        continue
    queue += [re.match(r"[\\w.-]+", line)[0] for line in lines if "extra ==" not in line]
blocked = {
    top for top, owners in metadata.packages_distributions().items()
    if top != "longlive_env" and not {flat(owner) for owner in owners} & needed
}
assert {"gymnasium", "yaml", "av", "PIL", "tqdm"} <= blocked, blocked

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
on_demand, *packages = sys.argv[1:]
for package in packages:
    module = importlib.import_module(package)
    for found in pkgutil.walk_packages(module.__path__, package + "."):
        if not found.name.endswith("__main__") and found.name not in on_demand.split():
            importlib.import_module(found.name)
"""


def test_imports_with_torch_numpy_and_safetensors_alone() -> None:
    """The engine first, so that it is by itself."""
    packages = ["longlive_env.engine", "longlive_env.training"]
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED_IMPORT, " ".join(ON_DEMAND), *packages],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
