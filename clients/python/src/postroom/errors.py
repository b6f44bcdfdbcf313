"""What can go wrong with a call."""

from typing import Any

import httpx
import msgspec
from msgspec import Struct


class PostroomError(Exception):
    """The base of all errors of this package."""


class Unreachable(PostroomError):
    """There was no answer: the server cannot be reached, or it was too slow.

    Whether it has done what was asked is unknown. `__cause__` is the error of httpx.
    """


class UnexpectedResponse(PostroomError):
    """What answered is not Postroom, a proxy for example; `status` is what it said."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Displaced(PostroomError):
    """The server closed an event stream in favour of a newer one of the same user.

    Do not open it again by itself: the two would close each other for ever.
    """


class FieldError(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the input."""

    detail: str
    code: str
    pointer: str | None = None
    """The place in the body, as a JSON Pointer: `#/to/0`."""
    parameter: str | None = None
    """The parameter of the query string."""
    to: int | None = None
    """The id of a recipient whom the body does not name."""


class _Document(Struct, frozen=True, kw_only=True):
    code: str
    title: str = ""
    detail: str = ""
    request_id: str = ""
    errors: list[FieldError] = []
    retry_after: int | None = None


class Problem(PostroomError):
    """The server refused the call, or failed. Decide by `code`; docs/errors.md lists all codes."""

    def __init__(self, status: int, document: _Document) -> None:
        self.status = status
        self.code = document.code
        self.title = document.title
        self.detail = document.detail
        self.errors = document.errors
        """Everything that is wrong with the input, each with its place."""
        self.request_id = document.request_id
        """The server's log names the call by it."""
        self.retry_after = document.retry_after
        """Seconds after which it makes sense to try again."""
        reason = self.detail.rstrip(".")
        if len(self.errors) > 1:
            places = [
                f"{error.pointer or error.parameter}: {error.detail}" for error in self.errors
            ]
            reason = "; ".join([reason, *places])
        super().__init__(f"{status} {self.code}: {reason} (request {self.request_id})")

    def __reduce__(self) -> tuple[Any, ...]:
        """Exceptions cross processes (Celery, multiprocessing)."""
        document = _Document(
            code=self.code,
            title=self.title,
            detail=self.detail,
            request_id=self.request_id,
            errors=self.errors,
            retry_after=self.retry_after,
        )
        return type(self), (self.status, document)


def refusal(response: httpx.Response) -> Problem | UnexpectedResponse:
    """The error that a response without success stands for."""
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("application/problem+json"):
        try:
            document = msgspec.json.decode(response.content, type=_Document)
        except msgspec.MsgspecError:
            pass
        else:
            return Problem(response.status_code, document)
    said = f"{response.status_code} {response.reason_phrase}".rstrip()
    return UnexpectedResponse(response.status_code, f"the answer is not Postroom's: {said}")
