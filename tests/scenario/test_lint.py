"""Advice on changes of one part of a prompt."""

import pytest

from longlive_env.scenario import Change, Moment, Scenario, lint

HORSE = "A white horse with a flowing mane turns around on a wide beach"


@pytest.mark.parametrize(
    ("world", "prompt", "colours", "warnings"),
    [
        ("1.3b", HORSE, ["golden", "black"], 2),
        ("1.3b", HORSE, ["golden", "white"], 0),  # so white is known
        ("1.3b", HORSE.replace("white horse with a flowing mane", "boat"), ["golden"], 0),
        ("tiny", "a robot walks right through the city", ["blue"], 0),
    ],
)
def test_lint_warns_of_a_colour_before_a_colour(
    world: str, prompt: str, colours: list[str], warnings: int
) -> None:
    quick = (Change("a boat", "subject"), *(Change(words, "colour") for words in colours))
    scenario = Scenario("walk", prompt, Moment(9, "seconds"), quick=quick, file="walk.yaml")
    found = [line for line in lint(scenario, world) if "whose colour" in line]
    assert len(found) == warnings
    if warnings:
        assert found[0] == (
            "walk.yaml: quick 2: 'golden' would be put before 'white horse with a flowing mane', whose "
            "colour world '1.3b' does not know; change the subject instead"
        )
