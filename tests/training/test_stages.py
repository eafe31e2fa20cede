"""The table of stages."""

from __future__ import annotations

import pytest

from longlive_env.training.codec_stage import CodecStage
from longlive_env.training.decoder_stage import DecoderStage
from longlive_env.training.distill_stage import DistillStage
from longlive_env.training.follow_stage import FollowStage
from longlive_env.training.stages import CLIP_CRITICS, CODED, ROLLED_OUT, STAGES, stage_class


@pytest.mark.parametrize("name", STAGES)
def test_the_table_agrees_with_the_classes(name: str) -> None:
    found = stage_class(name)
    assert found.name == name
    assert (name in ROLLED_OUT) == issubclass(found, DistillStage | FollowStage)
    assert (name in CLIP_CRITICS) == issubclass(found, DistillStage)
    assert (name in CODED) == issubclass(found, CodecStage | DecoderStage)
