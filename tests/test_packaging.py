"""What is listed is what exists: packages, their data, pinned versions; and the mapped packages resolve."""

import fnmatch
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
MAPPED: dict[str, str] = SETUPTOOLS["package-dir"]
PINS = dict(
    line.split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
)


def flat(name: str) -> str:
    return name.lower().replace("-", "_")


def home(package: str) -> Path:
    return ROOT / MAPPED.get(package, package.replace(".", "/"))


def test_every_package_is_listed_once() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("longlive_env/**/__init__.py")
    }
    listed = SETUPTOOLS["packages"]
    assert sorted(listed) == sorted(found | set(MAPPED))
    assert all((home(package) / "__init__.py").exists() for package in listed)


def test_every_data_file_is_packaged() -> None:
    for package in SETUPTOOLS["packages"]:
        patterns = SETUPTOOLS["package-data"].get(package, [])
        nested = [other for other in SETUPTOOLS["packages"] if other.startswith(package + ".")]
        for path in home(package).rglob("*"):
            inside_other = any(home(other) in path.parents for other in nested)
            if path.is_file() and path.suffix not in (".py", ".pyc") and not inside_other:
                name = path.relative_to(home(package)).as_posix()
                assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), f"{path} is not packaged"


@pytest.mark.parametrize("group", ["core", "viewer", "hub", "quant", "rl", "dev"])
def test_what_make_installs_is_pinned_and_allowed(group: str) -> None:
    project = PROJECT["project"]
    lines = project["dependencies"] if group == "core" else project["optional-dependencies"][group]
    pins = {flat(name): version for name, version in PINS.items()}
    for requirement in map(Requirement, lines):
        assert flat(requirement.name) in pins, f"{requirement.name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pins[flat(requirement.name)], prereleases=True)


def test_agents_and_scenarios_resolve_inside_the_package(tmp_path: Path) -> None:
    code = (
        "from importlib.resources import files\n"
        "import longlive_env.agents, longlive_env.scenarios\n"
        "print((files('longlive_env.scenarios') / 'demo.yaml').read_text())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (ROOT / "scenarios" / "demo.yaml").read_text(encoding="utf-8").strip()


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["project"]["version"]
    assert citation["title"].startswith(PROJECT["project"]["name"])
