"""The file that keeps typed prompts between sessions, one per line."""

from __future__ import annotations

from pathlib import Path

from longlive_env.engine.whole_files import in_one_step
from longlive_env.envs.spaces import is_allowed
from longlive_env.viewer.bindings import default_file
from longlive_env.viewer.messages import Tell
from longlive_env.viewer.prompt_line import HISTORY, LONGEST, remember


class PromptFile:
    """Reads earlier prompts and adds new ones. Errors are reported and have no other effect.

    Several viewers may share a file: each keeps what the others add. Other users cannot read it.

    Args:
        path: file, which need not exist.
        tell: function that shows a message.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell
        self._warned = False

    def read(self) -> list[str]:
        """Read the prompts, oldest first."""
        try:
            return self._read()
        except OSError as error:
            self._warn(f"Prompts of before cannot be read: {error}")
            return []

    def add(self, prompt: str) -> None:
        """Move or add a prompt to the end, and drop the oldest ones beyond `HISTORY`."""
        try:
            prompts = self._read()
            remember(prompts, prompt)
            target = self._path.resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            with in_one_step(target) as aside:
                aside.touch(mode=0o600)
                aside.write_text("".join(f"{one}\n" for one in prompts), encoding="utf-8", newline="\n")
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
        """Warn only once, as later prompts would meet the same error."""
        if not self._warned:
            self._warned = True
            self._tell(text, wrong=True)


def default_prompts() -> Path:
    """Return where the viewer keeps prompts: beside the key file."""
    return default_file().with_name("prompts.txt")


def _is_prompt(text: str) -> bool:
    return "\ufffd" not in text and len(text) <= LONGEST and all(map(is_allowed, text))
