"""What both clients do around a call: what they send, when they try again, what they read."""

import random
import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from types import NoneType
from typing import Any, TypeVar

import httpx
import msgspec

from .calls import Request
from .errors import Problem, UnexpectedResponse, Unreachable, refusal

T = TypeVar("T")

# Seconds: the first pause between two tries, which doubles, and the longest one that we choose.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 8.0
# Nothing was sent, so trying again repeats nothing.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def headers(key: str | None, token: str | None) -> dict[str, str]:
    """How the client says who it is."""
    if key and token:
        raise ValueError("give a server key or a token of a user, not both")
    if not (secret := key or token):
        return {}
    return {"Authorization": f"Bearer {in_a_header('the key or token', secret)}"}


def in_a_header(what: str, text: str) -> str:
    """The text, which a header can carry and the server takes."""
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError(f"{what} holds characters that are not visible ASCII")
    return text


def outgoing(
    http: httpx.Client | httpx.AsyncClient, request: Request[Any], sent: Mapping[str, str]
) -> httpx.Request:
    """The request as it is sent, the same at each try."""
    lines = dict(sent)
    content = None
    if request.body is not None:
        lines["Content-Type"] = "application/json"
        content = msgspec.json.encode(request.body)
    if request.method == "POST" and request.repeatable:
        key = request.idempotency_key or str(uuid.uuid4())
        lines["Idempotency-Key"] = in_a_header("the idempotency key", key)
    query = {name: _text(value) for name, value in request.query.items() if value is not None}
    return http.build_request(
        request.method, request.path, params=query, content=content, headers=lines
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.to_builtins(value) if isinstance(value, datetime) else str(value)


def answer(response: httpx.Response, request: Request[T]) -> T:
    """What the server answered."""
    content = response.content
    if request.result is NoneType:
        is_done = response.status_code in (202, 204) and not content
        content = b"null" if is_done else b""
    elif response.status_code == 204:
        # An answer without a body has nothing that the token may be shown.
        content = content or b"{}"
    try:
        return msgspec.json.decode(content, type=request.result)
    except msgspec.MsgspecError as error:
        detail = f"the answer to {request.method} {request.path} is not Postroom's: {error}"
        raise UnexpectedResponse(response.status_code, detail) from error


class Backoff:
    """Pauses that grow, with some chance in them so that clients do not come all at once."""

    def __init__(self) -> None:
        self.tries = 0

    def next(self, at_least: float = 0) -> float:
        """Seconds to wait."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self.tries)
        self.tries += 1
        return at_least + random.uniform(longest / 2, longest)


class Attempts:
    """Decides after each try of a call whether and when there is another one."""

    def __init__(self, request: Request[Any], retry_for: float) -> None:
        self._request = request
        self._until = time.monotonic() + retry_for
        self._backoff = Backoff()

    def pause_after_error(self, error: httpx.TransportError) -> float:
        """Seconds until the next try; raises `Unreachable` where there is none."""
        if self._request.repeatable or isinstance(error, NOT_SENT):
            pause = self._backoff.next()
            if time.monotonic() + pause < self._until:
                return pause
        call = f"{self._request.method} {self._request.path}"
        raise Unreachable(f"{call}: {str(error) or type(error).__name__}") from error

    def pause_after(self, response: httpx.Response) -> float | None:
        """Seconds until the next try; nothing after success; raises what went wrong."""
        if response.is_success:
            return None
        error = refusal(response)
        if self._helps(response.status_code, error):
            pause = self._backoff.next(retry_after(response))
            if time.monotonic() + pause < self._until:
                return pause
        raise error

    def _helps(self, status: int, error: Problem | UnexpectedResponse) -> bool:
        if status == 409:
            return isinstance(error, Problem) and error.code == "request_in_progress"
        return status == 429 or (status in (502, 503, 504) and self._request.repeatable)


def retry_after(response: httpx.Response) -> float:
    """The seconds that the server wants to be left alone."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() else 0
