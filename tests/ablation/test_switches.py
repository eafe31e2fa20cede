"""Prompt switches of worlds that are rendered: obedient ones, and one that clings to the old prompt."""

from __future__ import annotations

import numpy as np
import pytest
from rendered_world import RenderedRollout, RenderedWorld, said

from longlive_env.ablation.switches import DISTANCES, Switches, SwitchRow, roll_out
from longlive_env.evaluate import SETTLE_BLOCKS, EvalConfig, trials
from longlive_env.tiny.probe import Probe

CONFIG = EvalConfig(rollouts=5, blocks=6, batch=5)


class SwitchingWorld(RenderedWorld):
    """Obeys at once, or clings to the old prompt, as the mode of recache says."""

    def start(self, prompts: list[str], seed: list[int]) -> RenderedRollout:
        class Switching(RenderedRollout):
            def switch_prompt(self, prompts: list[str], recache: str = "full") -> None:
                if recache != "none":
                    super().switch_prompt(prompts)

        return Switching(self, prompts)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[SwitchRow]]:
    probe, group = Probe.load(), list(trials(CONFIG))
    return {
        mode: roll_out(SwitchingWorld(said(group)), group, CONFIG, probe, mode) for mode in ("full", "none")
    }


def test_switches_tell_obedience_from_clinging(rows: dict[str, list[SwitchRow]]) -> None:
    obedient, clinging = Switches.of(rows["full"]), Switches.of(rows["none"])
    assert obedient.obeyed().share > 0.9 > 0.3 > clinging.obeyed().share
    assert obedient.kept().share > 0.9 and clinging.kept().share > 0.9
    assert obedient.jump("features").value > 1.5 > clinging.jump("features").value
    assert obedient.jump("unchanged").value < obedient.jump("features").value
    assert obedient.settled.mean() == pytest.approx(obedient.obeyed().share)
    assert clinging.to_json()["rollouts"] == 5


def test_rows_are_plain_values(rows: dict[str, list[SwitchRow]]) -> None:
    row = rows["full"][0]
    assert row["changed"] == "subject"
    assert len(row["after"]) == SETTLE_BLOCKS and len(row["before"]) == 5
    assert row["jump"].keys() == row["usual"].keys() == set(DISTANCES)
    assert all(type(value) is float for value in row["jump"].values())


def test_a_jump_is_over_what_is_usual() -> None:
    def row(jump: float, usual: float) -> SwitchRow:
        return SwitchRow(
            changed="action",
            before=[True] * 5,
            after=[[True] * 5] * SETTLE_BLOCKS,
            jump=dict.fromkeys(DISTANCES, jump),
            usual=dict.fromkeys(DISTANCES, usual),
        )

    found = Switches.of([row(2.0, 1.0), row(4.0, 1.0), row(3.0, 2.0), row(3.0, 2.0)])
    assert found.jump("pixels").value == pytest.approx(2.0)
    assert np.all(found.settled == 1)
