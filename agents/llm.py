"""An agent that asks a language model what happens next.

Shapes: T = 12 pixel frames of a block, H rows, W columns.
"""

from __future__ import annotations

import base64
import io
import logging
import os
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from longlive_env.agents.base import seat
from longlive_env.agents.chat import ChatEndpoint
from longlive_env.envs.prompts import checked_prompt
from longlive_env.envs.rewards import ProbeReward
from longlive_env.envs.seat import Env, Info
from longlive_env.envs.vocabulary import Vocabulary, vocabulary_of
from longlive_env.errors import AgentError, PromptError
from longlive_env.frames import Frames

if TYPE_CHECKING:
    from longlive_env.engine.world import World

log = logging.getLogger(__name__)

Eyes = Literal["picture", "probe"]
URL, MODEL, KEY = "LONGLIVE_LLM_URL", "LONGLIVE_LLM_MODEL", "OPENAI_API_KEY"  # in the environment
EYES = "LONGLIVE_LLM_EYES"  # the same
OPENAI = "https://api.openai.com/v1"
PICTURE_WIDTH = 320  # pixels; enough to tell what is seen, and cheap to send
ANSWER_TOKENS = 200
REMEMBERED = 6  # prompts
INSTRUCTIONS = """\
You direct a video that a model generates without a cut. {eyes} Answer with the prompt for
what happens next: one line, one or two plain sentences, no quotes, no comments. Every prompt names the
subject with its looks, what it does, the place, and the weather or light, even where nothing changes. Change
one or two things at a time."""
EYES_TOLD: dict[str, str] = {
    "picture": "You see its newest frame.",
    "probe": "You are told what its newest frames show.",
}
SCOLDING = (
    "That prompt cannot be used: {reason}. Answer with one line that names the subject, what it does, "
    "the place and the weather."
)


class LLMAgent:
    """Lets a language model write the prompts, through any OpenAI-compatible endpoint.

    Every few blocks it sends the newest frame as a small JPEG and the recent prompts, and plays the answer if
    that names a subject and a setting; if not, it asks once more, and then keeps the prompt. A model that
    takes no pictures can be told in words what the tiny world's probe sees instead. Environment variables set
    the endpoint: `LONGLIVE_LLM_URL` (OpenAI by default), `LONGLIVE_LLM_MODEL`, `LONGLIVE_LLM_EYES`
    ("picture", the default, or "probe"), and `OPENAI_API_KEY`, which a local server may not need.

    Args:
        goal: what the story should lead to, in words; empty takes the goal of the env's task from `info`, or
            leaves it to the model.
        every: number of blocks between two requests, at least 1.
        endpoint: endpoint to use instead of the one that the environment describes.
        eyes: what the model is sent of the video, "picture" or "probe"; None takes the environment's choice.

    Raises:
        AgentError: the environment names no model, or an argument is invalid.
    """

    def __init__(
        self,
        goal: str = "",
        *,
        every: int = 6,
        endpoint: ChatEndpoint | None = None,
        eyes: Eyes | None = None,
    ) -> None:
        if every < 1:
            raise AgentError(f"every is {every}; ask at most once a block")
        self._eyes = (os.environ.get(EYES) or "picture") if eyes is None else eyes
        if self._eyes not in EYES_TOLD:
            what = EYES if eyes is None else "eyes"
            raise AgentError(f"{what} is {self._eyes!r}; expected {' or '.join(EYES_TOLD)}")
        self._endpoint = endpoint or endpoint_from_environment()
        self._given_goal = goal
        self._every = every
        self._goal = goal
        self._age = 0  # blocks of this episode that were seen
        self._recent: deque[str] = deque(maxlen=REMEMBERED)
        self._vocabulary: Vocabulary = vocabulary_of("")
        self._world: World | None = None

    def reset(self, env: Env, info: Info) -> None:
        """Forget the last story.

        Raises:
            AgentError: the probe is to look at a world of other scenes than the tiny world's.
        """
        self._world = seat(env).world
        config = self._world.config
        self._vocabulary = vocabulary_of(config.vocabulary)
        if self._eyes == "probe" and not self._vocabulary.attributes:
            raise AgentError(
                f"the probe cannot see world {config.name!r}, with the vocabulary {config.vocabulary!r}; "
                f"take a model that takes pictures, and {EYES}=picture"
            )
        self._goal = self._given_goal or info.get("goal", "")
        self._age = 0
        self._recent.clear()

    def act(self, observation: Frames, info: Info) -> str:
        """The model's prompt, or `""` between requests and when the model gave no usable one.

        Raises:
            AgentError: the endpoint cannot be reached or refuses.
        """
        if not self._recent or self._recent[-1] != info["prompt"]:
            self._recent.append(info["prompt"])
        self._goal = self._given_goal or info.get("goal", self._goal)  # a tour's goal is its next stop
        self._age += 1
        if (self._age - 1) % self._every:
            return ""
        messages = self._messages(observation)
        for _ in range(2):
            answer = self._endpoint.complete(messages, max_tokens=ANSWER_TOKENS)
            prompt = first_line(answer)
            reason = self._fault(prompt)
            if not reason:
                return prompt
            messages += [
                {"role": "assistant", "content": answer},
                {"role": "user", "content": SCOLDING.format(reason=reason)},
            ]
        log.warning("the model's prompt cannot be used, %s; the one in force stays", reason)
        return ""

    def _messages(self, observation: Frames) -> list[dict[str, Any]]:
        past = "\n".join(f"- {prompt}" for prompt in self._recent)
        lines = [f"The prompts so far, the newest last:\n{past}"]
        if self._eyes == "probe":
            lines.append(f"What the newest frames show: {ProbeReward().describe(observation)}")
        if self._goal:
            lines.append(f"The story should come to this: {self._goal}")
        if self._vocabulary.words:
            known = [*self._vocabulary.subjects, *self._vocabulary.settings]
            phrases = [phrase for part in self._vocabulary.phrases.values() for phrase in part]
            lines.append(f"The world knows these words alone: {', '.join(dict.fromkeys([*known, *phrases]))}")
        text = "\n\n".join([*lines, "What is the next prompt?"])
        content: str | list[dict[str, Any]] = text
        if self._eyes == "picture":
            url = {"url": as_data_url(observation[-1]), "detail": "low"}
            content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
        return [
            {"role": "system", "content": INSTRUCTIONS.format(eyes=EYES_TOLD[self._eyes])},
            {"role": "user", "content": content},
        ]

    def _fault(self, prompt: str) -> str:
        """Why this prompt cannot be used; empty if it can."""
        assert self._world is not None, "reset comes first"
        if not prompt:
            return "it is empty"
        try:
            checked_prompt(self._world, prompt)
        except PromptError as error:
            return str(error)
        if not self._vocabulary.names_subject(prompt):
            return "it names no subject"
        return "" if self._vocabulary.names_setting(prompt) else "it names no place"


def endpoint_from_environment() -> ChatEndpoint:
    """The endpoint that the environment describes.

    Raises:
        AgentError: it names no model, or names OpenAI without a key.
    """
    url, model, key = os.environ.get(URL) or OPENAI, os.environ.get(MODEL, ""), os.environ.get(KEY, "")
    if not model:
        raise AgentError(
            f"no model is named; set {MODEL}, and {URL} for a server other than OpenAI's "
            f"(with {KEY} if it asks for a key)"
        )
    if url == OPENAI and not key:
        raise AgentError(f"{OPENAI} needs a key; set {KEY}, or {URL} to a server of your own")
    return ChatEndpoint(url, model, key)


def first_line(answer: str) -> str:
    """The first line of an answer that is not empty, without surrounding quotes and list marks."""
    lines = (" ".join(line.strip().strip("`\"'“”*-• ").split()) for line in answer.splitlines())
    return next((line for line in lines if line), "")


def as_data_url(frame: np.typing.NDArray[np.uint8]) -> str:
    """A frame, uint8 [H, W, 3], as a small JPEG in a data URL."""
    picture = Image.fromarray(np.ascontiguousarray(frame))
    picture.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH))
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
