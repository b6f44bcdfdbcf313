"""The clients: one for threads, one for asyncio and trio."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from copy import copy
from typing import Literal, Self, TypeVar
from urllib.parse import quote

import anyio
import httpx
from httpx_sse import EventSource, SSEError

from .calls import AsyncListing, Listing, Request
from .mailbox import MailboxCalls
from .models import Changes, Event
from .refs import Ref, written
from .server import ServerCalls
from .stream import SILENCE, Stream
from .transport import Attempts, answer, headers, outgoing

T = TypeVar("T")


class _Sync:
    """Makes calls and waits for them."""

    listing = Listing

    def __init__(
        self, url: str, http: httpx.Client, sent: Mapping[str, str], retry_for: float
    ) -> None:
        self.url = url
        self._http, self._sent, self._retry_for = http, sent, retry_for

    def perform(self, request: Request[T]) -> T:
        """Makes a call, and tries again where that helps; for calls that have no method here."""
        attempts = Attempts(request, self._retry_for)
        message = outgoing(self._http, request, self._sent)
        while True:
            try:
                response = self._http.send(message)
            except httpx.TransportError as error:
                time.sleep(attempts.pause_after_error(error))
                continue
            if (pause := attempts.pause_after(response)) is None:
                return answer(response, request)
            time.sleep(pause)


class _Async:
    """Makes calls for asyncio."""

    listing = AsyncListing

    def __init__(
        self, url: str, http: httpx.AsyncClient, sent: Mapping[str, str], retry_for: float
    ) -> None:
        self.url = url
        self._http, self._sent, self._retry_for = http, sent, retry_for

    async def perform(self, request: Request[T]) -> T:
        """Makes a call, and tries again where that helps; for calls that have no method here."""
        attempts = Attempts(request, self._retry_for)
        message = outgoing(self._http, request, self._sent)
        while True:
            try:
                response = await self._http.send(message)
            except httpx.TransportError as error:
                await anyio.sleep(attempts.pause_after_error(error))
                continue
            if (pause := attempts.pause_after(response)) is None:
                return answer(response, request)
            await anyio.sleep(pause)


class Server(_Sync, ServerCalls):
    """What the app's server can do: `client.server`."""


class AsyncServer(_Async, ServerCalls):
    """What the app's server can do: `client.server`."""


class Client(_Sync, MailboxCalls):
    """A client that waits for each call; it can be shared between threads.

    `key` is a server key (`prk_…`): use `server` and `as_user`. `token` is a token of one user
    (`prt_…`, `pru_…` or a JWT): its calls are those of that user. `timeout` are the seconds for an
    answer, and `retry_for` those in which a call is tried again; 0: it is tried once.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        timeout: float = 10,
        retry_for: float = 30,
    ) -> None:
        http = httpx.Client(base_url=url, timeout=timeout)
        super().__init__(url, http, headers(key, token), retry_for)
        self.server = Server(url, http, self._sent, retry_for)

    def as_user(self, user: Ref, *, present: bool = False) -> Self:
        """The same client acting for a user. `present`: they are looking, so it is activity."""
        client = copy(self)
        client._sent = _acting(self._sent, user, present)
        return client

    def changes(self, since: str) -> Iterator[Changes]:
        """Pages of what happened since a state; go on from the last `new_state`.

        Where the server no longer knows, it raises a `Problem` with the code
        `cannot_calculate_changes`: load the lists again.
        """
        more = True
        while more:
            page = self.get_changes(since)
            yield page
            since, more = page.new_state, page.has_more

    def events(
        self, since: str | None = None, *, fields: Literal["metadata"] | None = None
    ) -> Generator[Event, None, None]:
        """What happens in the mailbox, for ever, through restarts of the server.

        It starts now, or at a state. To go on in another process, keep the `state` of the last
        event that was dealt with. It ends with a `Problem` where the token has ended, and with
        `Displaced` where a newer stream displaced it. A server key cannot open streams. With
        `fields="metadata"` each message has its metadata.
        """
        stream = Stream(since, fields)
        while True:
            try:
                with self._http.stream(
                    "GET",
                    "/v1/events",
                    params=stream.query,
                    headers={**self._sent, **stream.headers()},
                    timeout=SILENCE,
                ) as response:
                    if not response.is_success:
                        response.read()
                    if stream.opens(response):
                        for sse in EventSource(response).iter_sse():
                            if (event := stream.read(sse)) is not None:
                                yield event
                                stream.done(event)
            except (httpx.TransportError, SSEError):
                stream.failed()
            time.sleep(stream.pause())

    def close(self) -> None:
        """Closes the connections, also those of the clients that `as_user` gave."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Async, MailboxCalls):
    """The same for asyncio and trio: `await client.send(…)`, `async for message in client.messages()`."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        timeout: float = 10,
        retry_for: float = 30,
    ) -> None:
        http = httpx.AsyncClient(base_url=url, timeout=timeout)
        super().__init__(url, http, headers(key, token), retry_for)
        self.server = AsyncServer(url, http, self._sent, retry_for)

    def as_user(self, user: Ref, *, present: bool = False) -> Self:
        """The same client acting for a user. `present`: they are looking, so it is activity."""
        client = copy(self)
        client._sent = _acting(self._sent, user, present)
        return client

    async def changes(self, since: str) -> AsyncIterator[Changes]:
        """See `Client.changes`."""
        more = True
        while more:
            page = await self.get_changes(since)
            yield page
            since, more = page.new_state, page.has_more

    async def events(
        self, since: str | None = None, *, fields: Literal["metadata"] | None = None
    ) -> AsyncGenerator[Event, None]:
        """See `Client.events`."""
        stream = Stream(since, fields)
        while True:
            try:
                async with self._http.stream(
                    "GET",
                    "/v1/events",
                    params=stream.query,
                    headers={**self._sent, **stream.headers()},
                    timeout=SILENCE,
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    if stream.opens(response):
                        async for sse in EventSource(response).aiter_sse():
                            if (event := stream.read(sse)) is not None:
                                yield event
                                stream.done(event)
            except (httpx.TransportError, SSEError):
                stream.failed()
            await anyio.sleep(stream.pause())

    async def close(self) -> None:
        """Closes the connections, also those of the clients that `as_user` gave."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _acting(sent: Mapping[str, str], user: Ref, present: bool) -> dict[str, str]:
    acting = {**sent, "Postroom-User": quote(written(user), safe=":")}
    return {**acting, "Postroom-Present": "true"} if present else acting
