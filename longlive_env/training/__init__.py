"""Training of a world's parts: one trainer, many stages (`python -m longlive_env.training --help`)."""

from longlive_env.training.stages import STAGES, Optimisation, Stage, make_stage
from longlive_env.training.train_config import TrainConfig
from longlive_env.training.trainer import Trainer, train

__all__ = ["STAGES", "Optimisation", "Stage", "TrainConfig", "Trainer", "make_stage", "train"]
