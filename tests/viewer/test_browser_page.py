"""What the page of `longlive play --serve` does with keys, in Node on a page of stubs."""

import json
import shutil
import subprocess
from importlib import resources
from typing import Any

import pytest

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node")
STUBS = """
const keys = {}, said = [];
const listen = (kind, does) => { keys[kind] = does; };
const get = (_, name) =>
  name === Symbol.toPrimitive ? () => "" : name === "addEventListener" ? listen : element;
const element = new Proxy(() => element, {get});
globalThis.document = element;
Object.defineProperty(globalThis, "navigator", {value: {platform: "Linux", getGamepads: () => []}});
globalThis.location = {href: "http://here/"};
globalThis.WebSocket = class { static OPEN = 1; readyState = 1; send(text) { said.push(JSON.parse(text)); } };
globalThis.addEventListener = listen;
globalThis.requestAnimationFrame = () => {};
"""


def said(writing: bool, *pressed: str, ctrl: bool = False, alt: bool = False) -> list[str]:
    """The keys that the page reports when each of these is held until it repeats."""
    others = f"...{json.dumps({'ctrlKey': ctrl, 'altKey': alt})}, getModifierState: () => false"
    held = f"""
writing = {json.dumps(writing)};
for (const key of {json.dumps(pressed)})
  for (const repeat of [false, true, true])
    keys.keydown({{key, code: key, repeat, {others}, preventDefault: () => {{}}}});
"""
    return [message["key"] for message in messages(held)]


def messages(script: str) -> list[dict[str, Any]]:
    """What the page says when a script calls its listeners."""
    html = resources.files("longlive_env.viewer").joinpath("page.html").read_text(encoding="utf-8")
    page = html.partition("<script>")[2].partition("</script>")[0].replace('"use strict";', "")
    told = "\nconsole.log(JSON.stringify(said));"
    done = subprocess.run(
        [str(NODE)],
        input=STUBS + page + script + told,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_held_keys_act_once_but_for_those_of_the_prompt_box() -> None:
    assert said(False, "a", "F9") == ["a", "F9"]
    assert said(True, "F9", "F12", "Enter", "Escape") == ["F9", "F12", "Enter", "Escape"]
    assert said(True, "F", "Backspace") == ["F"] * 3 + ["Backspace"] * 3


def test_chords_act_once_but_for_those_that_edit_the_prompt() -> None:
    assert said(False, "z", "ArrowLeft", ctrl=True) == ["z", "ArrowLeft"]
    assert said(True, "b", "m", "s", ctrl=True) == ["b", "m", "s"]
    assert said(True, "1", alt=True) == ["1"]
    assert said(True, "z", "y", "ArrowLeft", "Backspace", ctrl=True) == [
        key for key in ("z", "y", "ArrowLeft", "Backspace") for _ in range(3)
    ]


def test_what_an_input_method_composes_is_told_until_it_is_done_or_given_up() -> None:
    script = """
keys.compositionupdate({data: "ne"});
keys.compositionupdate({data: "🙂".repeat(5000)});
keys.compositionend({data: ""});
"""
    told = messages(script)
    assert {message["type"] for message in told} == {"compose"}
    assert [message["text"] for message in told] == ["ne", "🙂" * 4096, ""]
