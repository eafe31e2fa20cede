"""A small client for OpenAI-compatible chat endpoints: standard library, timeouts, retries, clear errors."""

from __future__ import annotations

import http.client
import ipaddress
import json
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from longlive_env.errors import AgentError

ANSWER_BYTES = 1 << 20  # more is not a prompt
TRY_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
LONGEST_WAIT_S = 30.0
REASONING = 10  # times as many tokens for models that think before they answer

log = logging.getLogger(__name__)


class _RefusedError(AgentError):
    """The endpoint has answered with a status that a retry cannot change."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is an error, since following it would carry the key to another host."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Never."""


@dataclass(frozen=True)
class ChatEndpoint:
    """Where chat completions come from.

    Attributes:
        url: base URL, such as `https://api.openai.com/v1` or `http://localhost:11434/v1`.
        model: name of the model, as the endpoint spells it.
        key: sent as a bearer token; empty sends none. It never appears in messages.
        timeout_s: time limit of one attempt, in seconds.
        tries: number of attempts before giving up.
        backoff_s: pause before the second attempt; it doubles with each further one.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_s: float = 30.0
    tries: int = 4
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AgentError(
                f"{self.url!r} is not an address; expected one such as http://localhost:11434/v1"
            )
        if self.key and parts.scheme == "http" and not _is_local(parts.hostname):
            raise AgentError(
                f"{self.url} would carry the key in the open; use https, or unset it in the environment"
            )
        if self.tries < 1 or self.timeout_s <= 0 or self.backoff_s < 0:
            raise AgentError(
                f"tries is {self.tries}, timeout_s {self.timeout_s:g} and backoff_s {self.backoff_s:g}; "
                "expected at least 1 try, a timeout above 0 and a backoff from 0 on"
            )

    def complete(self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> str:
        """The text of the model's answer.

        Args:
            messages: messages in the format of the chat completions API.
            max_tokens: largest length of the answer.

        Raises:
            AgentError: the endpoint cannot be reached, refuses, or answers with something other than text.
        """
        body = {"model": self.model, "messages": list(messages)}
        try:
            answer = self._send({**body, "max_tokens": max_tokens})
        except _RefusedError as error:
            if error.code != 400 or "max_completion_tokens" not in str(error):
                raise
            # Models that reason spell it so, and spend most of it before they answer.
            answer = self._send({**body, "max_completion_tokens": REASONING * max_tokens})
        return self._text(answer)

    def _send(self, body: Mapping[str, Any]) -> bytes:
        """The body of the answer, after as many attempts as it takes."""
        headers = {"Content-Type": "application/json", "User-Agent": "longlive_env"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirects)
        pause = self.backoff_s
        for attempt in range(1, self.tries + 1):
            try:
                with opener.open(request, timeout=self.timeout_s) as answer:
                    return bytes(answer.read(ANSWER_BYTES))
            except urllib.error.HTTPError as error:
                with error:
                    said = _message(error)
                if error.code not in TRY_AGAIN or attempt == self.tries:
                    self._refused(error.code, said)
                trouble, wanted = f"status {error.code}", _retry_after(error)
            except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
                reason = getattr(error, "reason", error)
                if attempt == self.tries:
                    self._unreachable(str(reason) or type(error).__name__)
                trouble, wanted = str(reason), 0.0
            wait = min(max(pause, wanted), LONGEST_WAIT_S)
            log.warning("%s: %s; trying again in %g s", self.url, trouble, wait)
            time.sleep(wait)
            pause *= 2
        raise AssertionError("the last attempt returns or raises")

    def _refused(self, code: int, said: str) -> NoReturn:
        remedy = {
            401: "; check the key in the environment",
            403: "; check the key in the environment",
            404: f"; check the address and the model's name ({self.model})",
        }.get(code, "")
        raise _RefusedError(
            code, f"{self.url} answered with status {code}{f': {said}' if said else ''}{remedy}"
        )

    def _unreachable(self, reason: str) -> NoReturn:
        attempts = "1 attempt" if self.tries == 1 else f"{self.tries} attempts"
        raise AgentError(
            f"cannot reach {self.url} ({reason}) after {attempts}; check the network or start a server there"
        )

    def _text(self, body: bytes) -> str:
        try:
            choice = json.loads(body)["choices"][0]
            text, spent = choice["message"]["content"], choice.get("finish_reason") == "length"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            text, spent = None, False
        if not text and spent:
            raise AgentError(
                f"{self.model} came to the end of its tokens before it said anything; choose a model that "
                "reasons less"
            )
        if not isinstance(text, str):
            raise AgentError(
                f"{self.url} answered something else than a chat completion; is it an OpenAI-like API?"
            )
        return text


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _message(error: urllib.error.HTTPError) -> str:
    """What the endpoint says is wrong, on one line."""
    try:
        found = json.loads(error.read(ANSWER_BYTES))["error"]
        return " ".join(str(found["message"] if isinstance(found, dict) else found).split())[:200]
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return ""


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds that the endpoint asks to wait, 0 if it asks for none."""
    value = error.headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0
