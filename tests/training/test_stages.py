"""The table of stages."""

from __future__ import annotations

import pytest

from longlive_env.training.codec_stage import CodecStage
from longlive_env.training.decoder_stage import DecoderStage
from longlive_env.training.distill_stage import DistillStage
from longlive_env.training.opening_stage import OpeningStage
from longlive_env.training.stages import CLIP_CRITICS, CODED, ROLLED_OUT, STAGES, stage_class


@pytest.mark.parametrize("name", STAGES)
def test_the_table_agrees_with_the_classes(name: str) -> None:
    kind, found = STAGES[name], stage_class(name)
    assert found.name == name and kind.trains
    assert kind.rolls_out == issubclass(found, DistillStage | OpeningStage)
    assert kind.judges_clips == issubclass(found, DistillStage)
    assert kind.codes == issubclass(found, CodecStage | DecoderStage)


def test_names_of_each_kind() -> None:
    assert ROLLED_OUT == ("distill", "stream", "oracle", "follow")
    assert CLIP_CRITICS == ("distill", "stream")
    assert CODED == ("codec", "decoder")
