"""How a call is described once, and made by both clients."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from .models import Page

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """What to ask the server, and the type of what it answers."""

    method: str
    path: str
    result: type[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    """What is `None` is left out."""
    body: Any = None
    idempotency_key: str | None = None
    """Of a POST; without it, the client makes one."""
    repeatable: bool = True
    """Whether to try again where it is unknown if the server has done it."""


class Caller(Protocol):
    """What makes calls and waits for them in its thread."""

    def perform(self, request: Request[T]) -> T:
        """Makes a call, and tries again where that helps."""
        ...


class AsyncCaller(Protocol):
    """The same for asyncio."""

    async def perform(self, request: Request[T]) -> T:
        """Makes a call, and tries again where that helps."""
        ...


class call(Generic[P, T]):  # noqa: N801 (a decorator)
    """Makes a method of a description: it returns the result, or in an async client awaits it."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Request[T]]) -> None:
        def method(caller: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return caller.perform(describe(caller, *args, **kwargs))

        self._method = update_wrapper(method, describe)

    @overload
    def __get__(self, caller: None, owner: type) -> Self: ...
    @overload
    def __get__(self, caller: Caller, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, caller: AsyncCaller, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, caller: Any, owner: type) -> Any:
        return self if caller is None else MethodType(self._method, caller)


class pages(Generic[P, T]):  # noqa: N801 (a decorator)
    """Makes a method of the description of a list: it returns something to iterate over."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Request[Page[T]]]) -> None:
        def method(caller: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
            return caller.listing(caller, describe(caller, *args, **kwargs))

        self._method = update_wrapper(method, describe)

    @overload
    def __get__(self, caller: None, owner: type) -> Self: ...
    @overload
    def __get__(self, caller: Caller, owner: type) -> Callable[P, "Listing[T]"]: ...
    @overload
    def __get__(self, caller: AsyncCaller, owner: type) -> Callable[P, "AsyncListing[T]"]: ...
    def __get__(self, caller: Any, owner: type) -> Any:
        return self if caller is None else MethodType(self._method, caller)


def after(request: Request[T], cursor: str | None) -> Request[T]:
    """The same list from a cursor on."""
    return replace(request, query={**request.query, "cursor": cursor}) if cursor else request


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """A list on the server. Iterating over it loads one page after the other."""

    caller: Caller
    request: Request[Page[T]]

    def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the one that starts at the cursor."""
        return self.caller.perform(after(self.request, cursor))

    def pages(self) -> Iterator[Page[T]]:
        """All pages."""
        page = self.page()
        yield page
        while page.next_cursor:
            page = self.page(page.next_cursor)
            yield page

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.data


@dataclass(frozen=True, slots=True)
class AsyncListing(Generic[T]):
    """A list on the server. Iterating over it loads one page after the other."""

    caller: AsyncCaller
    request: Request[Page[T]]

    async def page(self, cursor: str | None = None) -> Page[T]:
        """One page: the first, or the one that starts at the cursor."""
        return await self.caller.perform(after(self.request, cursor))

    async def pages(self) -> AsyncIterator[Page[T]]:
        """All pages."""
        page = await self.page()
        yield page
        while page.next_cursor:
            page = await self.page(page.next_cursor)
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.data:
                yield item
