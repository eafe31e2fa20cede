"""What the stages ask for that learn on encoded takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from longlive_env.engine.config import PRESETS
from longlive_env.errors import ConfigError
from longlive_env.training.base_stage import BaseStage
from longlive_env.training.causal_stage import CausalStage
from longlive_env.training.world_model import world_config
from longlive_env.training.world_model_stage import WorldModelStage


@pytest.mark.parametrize("kind", [BaseStage, CausalStage])
@pytest.mark.parametrize("given", [{"codec": "tiny"}, {"bank": "bank"}])
def test_a_codec_and_a_bank_are_needed(kind: type[WorldModelStage], given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"the {kind.name} stage needs a codec and a folder; give --set"):
        kind(**given)


@pytest.mark.parametrize("kind", [BaseStage, CausalStage])
@pytest.mark.parametrize("option", ["takes", "held_out", "takes_a_file"])
def test_counts_of_takes_are_checked(kind: type[WorldModelStage], option: str) -> None:
    with pytest.raises(ConfigError, match=f"{option} is 0; expected at least 1"):
        kind(**{option: 0})


def test_what_learns_from_rendered_takes_has_their_vocabulary() -> None:
    tiny = PRESETS["tiny"]
    trained = world_config(replace(tiny, name="mine", vocabulary=""), "")
    assert trained == replace(world_config(tiny, ""), name="mine") and trained.vocabulary == "tiny"
