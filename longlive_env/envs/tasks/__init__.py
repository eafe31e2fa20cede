"""Tasks in the tiny world's scenes, judged from pixels.

Each task is a frozen dataclass whose fields are its options; see `envs/task.py` for how an env uses it.
"""

from longlive_env.envs.tasks.base import PixelTask
from longlive_env.envs.tasks.goal import GoalTask
from longlive_env.envs.tasks.hold import HoldTask
from longlive_env.envs.tasks.tour import TourTask

__all__ = ["GoalTask", "HoldTask", "PixelTask", "TourTask"]
