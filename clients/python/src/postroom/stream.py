"""What both clients know of an event stream that they resume."""

import random
from typing import Literal

import httpx
import msgspec
from httpx_sse import ServerSentEvent

from .errors import Displaced, refusal
from .models import Event, MessageItem, Unread
from .transport import Backoff, retry_after

# A stream that is silent for so many seconds is dead: there is a ping every 15.
SILENCE = httpx.Timeout(10, read=40)
# Seconds until a stream is opened again, where the server did not say.
PAUSE = 3.0


class _Data(msgspec.Struct):
    id: int | None = None
    message: MessageItem | None = None
    state: str | None = None


class Stream:
    """Where a stream is, and when to open it again."""

    def __init__(self, since: str | None, fields: Literal["metadata"] | None) -> None:
        self._last = since
        self.query = {} if fields is None else {"fields": fields}
        self._again = PAUSE
        self._backoff = Backoff()
        self._failed = False

    def headers(self) -> dict[str, str]:
        """Continues where it ended."""
        resume = {} if self._last is None else {"Last-Event-ID": self._last}
        return {"Accept": "text/event-stream", **resume}

    def opens(self, response: httpx.Response) -> bool:
        """Whether the stream is open; raises where trying again is of no use."""
        status = response.status_code
        if status == 429 or status >= 500:
            self._again = max(self._again, retry_after(response))
            self._failed = True
            return False
        if not response.is_success:
            raise refusal(response)
        self._failed = False
        self._backoff = Backoff()
        return True

    def read(self, sse: ServerSentEvent) -> Event | None:
        """What a block of the stream says; raises `Displaced` where it must not be resumed."""
        if sse.retry is not None:
            self._again = sse.retry / 1000
        if sse.event == "displaced":
            raise Displaced("a newer stream of this user took its place")
        # The first block has only `retry`.
        if sse.event == "ping" or not sse.data:
            return None
        state = sse.id or None
        if sse.event == "unread":
            unread = msgspec.json.decode(sse.data, type=Unread)
            return Event(type=sse.event, state=state, unread=unread)
        data = msgspec.json.decode(sse.data, type=_Data)
        return Event(
            type=sse.event,
            state=state or data.state,
            message_id=data.id,
            message=data.message,
        )

    def done(self, event: Event) -> None:
        """The event was dealt with: the stream resumes after it."""
        self._last = event.state or self._last

    def failed(self) -> None:
        """The connection broke, or could not be made."""
        self._failed = True

    def pause(self) -> float:
        """Seconds until it is opened again."""
        if self._failed:
            return self._backoff.next(0 if self._backoff.tries else random.uniform(0, 1))
        return self._again * random.uniform(1, 1.2)
