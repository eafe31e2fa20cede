"""Prompt lists in the forms that editors give them."""

from pathlib import Path

import pytest

from longlive_env.scenario import Moment, load_prompt_lists


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
