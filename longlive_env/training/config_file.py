"""Settings of stages in YAML: a section per stage, with its options, its optimiser and its run.

Files that come with the package are in `configs/`; the command line overrides what a file says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from longlive_env.engine.config_values import from_dict
from longlive_env.errors import ConfigError, did_you_mean
from longlive_env.training.stages import STAGES, Optimisation

FOLDER = Path(__file__).with_name("configs")


@dataclass(frozen=True)
class RunSettings:
    """How long and in what precision a stage trains, and how its work is divided.

    Attributes:
        minutes: wall-clock limit; 0 for none.
        steps: largest number of steps; 0 for none.
        autocast: "bf16", "none", or "auto" for bf16 where the device supports products in it.
        threads: number of parts of a batch that run side by side on a CPU, over all processes.
        shard: whether to spread weights, gradients and optimizer over the processes.
        recompute: whether to checkpoint activations of transformer blocks.
        checkpoint_s: seconds between checkpoints.
        evaluate_s: seconds between evaluations and sample sheets, see `TrainConfig`.
    """

    minutes: float = 0.0
    steps: int = 0
    autocast: str = "auto"
    threads: int = 1
    shard: bool = False
    recompute: bool = False
    checkpoint_s: float = 60.0
    evaluate_s: float = 120.0


@dataclass(frozen=True)
class StageSettings:
    """What a file says about a stage.

    Attributes:
        options: options of the stage, which checks them itself.
        optimisation: fields of `Optimisation` that differ from the stage's own.
        run: see `RunSettings`.
    """

    options: dict[str, Any] = field(default_factory=dict)
    optimisation: dict[str, Any] = field(default_factory=dict)
    run: RunSettings = RunSettings()


def known_configs() -> list[str]:
    """Names of the files that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_settings(name_or_path: str, stage: str) -> StageSettings:
    """Read a stage's section.

    Args:
        name_or_path: one of `known_configs`, or a file.
        stage: one of `STAGES`.

    Raises:
        ConfigError: there is no such file or section, or it holds unknown names or values.
    """
    import yaml

    path = _find(name_or_path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read {path}: {reason}; give a YAML file with a section a stage") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {content!r}; expected a section for each stage")
    for name in content:
        _known(name, list(STAGES), f"{path} has no stage")
    if stage not in content:
        raise ConfigError(f"{path} has no section {stage!r}; it has {', '.join(content)}")
    section = content[stage] or {}
    where = f"{path.name}: {stage}"
    if not isinstance(section, dict):
        raise ConfigError(f"{where} is {section!r}; expected options, optimisation and run")
    for name in section:
        _known(name, [item.name for item in dataclasses.fields(StageSettings)], f"{where} has no part")
    parts = {name: section.get(name) or {} for name in ("options", "optimisation", "run")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise ConfigError(f"{where}.{name} is {part!r}; expected names and values")
    checked = from_dict(Optimisation, parts["optimisation"], f"{where}.optimisation")
    run = from_dict(RunSettings, parts["run"], f"{where}.run")
    return StageSettings(
        parts["options"], {name: getattr(checked, name) for name in parts["optimisation"]}, run
    )


def _find(name_or_path: str) -> Path:
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return path
    _known(name_or_path, known_configs(), "there is no training config")
    return FOLDER / f"{name_or_path}.yaml"


def _known(name: Any, names: list[str], complaint: str) -> None:
    if name in names:
        return
    remedy = did_you_mean(name, names, f"known: {', '.join(names)}")
    raise ConfigError(f"{complaint} {name!r}; {remedy}")
