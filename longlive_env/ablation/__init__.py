"""Evidence that the parts of the recipe work: the same world without them, on the same prompts and noise.

A variant changes how a world is run, or uses other weights: what a prompt switch does to the cache, how long
the sink and the context are, how many denoising steps a block takes, how the world was trained.
"""

from longlive_env.ablation.study import Job, Result, Study, StudyConfig
from longlive_env.ablation.switches import Switches
from longlive_env.ablation.variants import VARIANTS, Variant, with_worlds

__all__ = [
    "VARIANTS",
    "Job",
    "Result",
    "Study",
    "StudyConfig",
    "Switches",
    "Variant",
    "with_worlds",
]
