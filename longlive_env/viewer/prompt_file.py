"""The file that keeps typed prompts for another day, one in each line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from longlive_env.envs.spaces import is_allowed
from longlive_env.viewer.bindings import default_file
from longlive_env.viewer.messages import Tell
from longlive_env.viewer.prompt_line import HISTORY, LONGEST, remember


class PromptFile:
    """Reads prompts of before and adds new ones. What goes wrong is told, and nothing else comes of it.

    Several viewers may share a file: what one adds is kept by the others. Nobody else may read it.

    Args:
        path: of the file, which need not be there.
        tell: shows a message.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell
        self._warned = False

    def read(self) -> list[str]:
        """The prompts in it, oldest first."""
        try:
            return self._read()
        except OSError as error:
            self._warn(f"Prompts of before cannot be read: {error}")
            return []

    def add(self, prompt: str) -> None:
        """Put a prompt at its end, where it stands once, and drop the oldest beyond `HISTORY`."""
        try:
            prompts = self._read()
            remember(prompts, prompt)
            _replace(self._path.resolve(), "".join(f"{one}\n" for one in prompts))
        except OSError as error:
            self._warn(f"Prompts are not kept for later: {error}")

    def _read(self) -> list[str]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        texts = [line.decode("utf-8", errors="replace") for line in lines if line]
        prompts = [text for text in texts if _is_prompt(text)]
        if len(prompts) < len(texts):
            self._warn(f"{self._path} is damaged; lines that are not prompts are left out")
        return prompts[-HISTORY:]

    def _warn(self, text: str) -> None:
        """Tell once: what is typed next would meet the same."""
        if not self._warned:
            self._warned = True
            self._tell(text, wrong=True)


def default_prompts() -> Path:
    """Where the viewer keeps prompts: beside the key file."""
    return default_file().with_name("prompts.txt")


def _is_prompt(text: str) -> bool:
    return "\ufffd" not in text and len(text) <= LONGEST and all(map(is_allowed, text))


def _replace(path: Path, text: str) -> None:
    """Write a file anew, so that it is whole at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
