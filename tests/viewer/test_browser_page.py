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
const get = (_, name) => name === Symbol.toPrimitive ? () => "" : element;
const element = new Proxy(() => element, {get});
globalThis.document = element;
Object.defineProperty(globalThis, "navigator", {value: {platform: "Linux", getGamepads: () => []}});
globalThis.location = {href: "http://here/"};
globalThis.WebSocket = class { static OPEN = 1; readyState = 1; send(text) { said.push(JSON.parse(text)); } };
globalThis.addEventListener = (kind, does) => { keys[kind] = does; };
globalThis.requestAnimationFrame = () => {};
"""


def said(writing: bool, *pressed: str, ctrl: bool = False, alt: bool = False) -> list[str]:
    """The keys that the page reports when each of these is held until it repeats."""
    html = resources.files("longlive_env.viewer").joinpath("page.html").read_text(encoding="utf-8")
    script = html.partition("<script>")[2].partition("</script>")[0].replace('"use strict";', "")
    others = f"...{json.dumps({'ctrlKey': ctrl, 'altKey': alt})}, getModifierState: () => false"
    held = f"""
writing = {json.dumps(writing)};
for (const key of {json.dumps(pressed)})
  for (const repeat of [false, true, true])
    keys.keydown({{key, code: key, repeat, {others}, preventDefault: () => {{}}}});
console.log(JSON.stringify(said));
"""
    done = subprocess.run(
        [str(NODE)], input=STUBS + script + held, capture_output=True, text=True, timeout=60, check=True
    )
    messages: list[dict[str, Any]] = json.loads(done.stdout)
    return [message["key"] for message in messages]


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
