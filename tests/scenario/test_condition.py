"""Conditions on what a picture shows."""

import pytest

from longlive_env.scenario import Condition
from longlive_env.tiny.scene import ATTRIBUTES

SEEN = {"subject": "car", "colour": "red", "setting": "city", "weather": "rain", "action": "still"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("weather == rain", True),
        ("weather != rain", False),
        ("weather in (snow, rain)", True),
        ("weather in (snow)", False),
        ("not weather == rain", False),
        ("weather == rain and action == jump", False),
        ("weather == rain and action == jump or colour == red", True),  # and binds closer
        ("weather == rain and (action == jump or colour == blue)", False),
        ("colour == red or weather == rain and action == jump", True),
        ("not weather == snow and not (action == jump or action == left)", True),
        ('weather == "rain"', True),
        ("weather != 'rain' or colour in (\"blue\", 'green')", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    condition = Condition.parse(text, ATTRIBUTES)
    assert condition.holds(SEEN) is holds
    assert str(condition) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wether == rain", "'wether' is not a valid attribute; did you mean 'weather'"),
        ("weather == rian", "'rian' is not a valid weather; did you mean 'rain'"),
        ("weather == purple", "'purple' is not a valid weather; valid: clear, night, rain"),
        ('weather == "rian"', "'rian' is not a valid weather; did you mean 'rain'"),
        ("weather == 'in the rain'", "'in the rain' is not a valid weather"),
        ('weather == "rain', "'\"' is not a valid weather"),
        ('weather == ""', "'\"' is not a valid weather"),
        ("weather", "expected '==' before 'the end'; write conditions such as: weather == rain"),
        ("weather = rain", "expected '==' before '='"),
        ("weather ==", "weather is missing before the end"),
        ("weather == rain colour == red", "'colour' is one too many; join conditions by 'and' or 'or'"),
        ("(weather == rain", r"expected '\)' before 'the end'"),
        ("weather in rain", r"expected '\(' before 'rain'"),
        ("", "attribute is missing before the end"),
        ("and", "attribute is missing before 'and'"),
    ],
)
def test_wrong_conditions(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Condition.parse(text, ATTRIBUTES)
