"""Prompt lists in the forms that editors give them."""

from pathlib import Path

import pytest

from longlive_env.errors import ScenarioError
from longlive_env.scenario import Moment, load_prompt_lists, parse_scenario
from longlive_env.scenario.template import template


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_prompt_lists_in_whatever_form_editors_save_them(tmp_path: Path, mark: str, ends: str) -> None:
    lines = {
        "jsonl": ['{"prompts": ["a \u2028 cat", "a \x85 dog"]}', '{"prompts": ["a bird"]}'],
        "txt": ["a cat", "a \x0c bird"],
    }
    for suffix, texts in lines.items():
        file = tmp_path / f"list.{suffix}"
        file.write_bytes((mark + ends.join(texts) + ends).encode())
        found = load_prompt_lists(file, Moment(10, "seconds"))
        assert [(one.prompt, one.line) for one in found] == [("a cat", 1), ("a bird", 2)]


@pytest.mark.parametrize(("name", "length"), [("n" * 400, 400), ("n" * 101, 101), ("名" * 34, 102)])
def test_a_name_is_one_of_a_folder(tmp_path: Path, name: str, length: int) -> None:
    text = "duration: 2 blocks\nprompt: a cat\nname: {}\n"
    with pytest.raises(ScenarioError, match=f"^x.yaml:3: name is {length} bytes long; use 100 at most"):
        parse_scenario(text.format(name), "x.yaml")
    with pytest.raises(ScenarioError, match=f"^x.yaml:4: pack is {length} bytes long; use 100 at most"):
        parse_scenario(f"{text.format('walk')}pack: {name}\n", "x.yaml")
    with pytest.raises(ScenarioError, match=f"^the name is {length} bytes long; use 100 at most"):
        template(name)
    longest = parse_scenario(text.format("n" * 100), "x.yaml").name
    (tmp_path / f"{longest}-replay").mkdir()


@pytest.mark.parametrize(
    ("suffix", "told"), [("txt", "a red robot walks in the city"), ("jsonl", "{.prompts.: ")]
)
def test_an_empty_list_is_told_what_it_should_hold(tmp_path: Path, suffix: str, told: str) -> None:
    file = tmp_path / f"list.{suffix}"
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=f"is empty; expected lines such as {told}"):
        load_prompt_lists(file, Moment(10, "seconds"))
