"""Streams go on through stops and kills of the server, and say when they must not."""

import asyncio
import signal
import threading
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from postroom import AsyncClient, Client, Displaced, Problem, ext
from support import Postroom, running, until


def token_of(server: Postroom, ref: str) -> str:
    with Client(server.url, key=server.key) as client:
        return client.server.create_token(ref, create={}, expires_in=3600).token


def test_a_stream_misses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    received: list[int] = []
    received_by_asyncio: list[int] = []

    def follow(url: str, token: str, state: str) -> None:
        client = Client(url, token=token)
        events = client.events(since=state, fields="metadata")
        with client, closing(events):
            for event in events:
                if event.message is not None:
                    assert event.message.metadata is not None
                    received.append(event.message.metadata["number"])
                    if event.message.subject == "end":
                        return

    async def follow_by_asyncio(url: str, token: str, state: str) -> None:
        client = AsyncClient(url, token=token)
        async with client, aclosing(client.events(since=state)) as events:
            async for event in events:
                if event.message is not None:
                    assert event.message.metadata is None
                    received_by_asyncio.append(int(event.message.snippet))
                    if event.message.subject == "end":
                        return

    with running(tmp_path) as server, Client(server.url, key=server.key) as client:
        token = token_of(server, ext(1))
        ann = client.as_user(ext(1))
        state = ann.unread().state
        assert state is not None
        of = (server.url, token, state)
        threads = [
            threading.Thread(target=follow, args=of, daemon=True),
            threading.Thread(target=lambda: asyncio.run(follow_by_asyncio(*of)), daemon=True),
        ]
        for thread in threads:
            thread.start()
        sent = 0
        for how in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(10):
                ann.send(ext(1), body=str(sent), metadata={"number": sent})
                sent += 1
            server.stop(how)
            server.start()
        ann.send(ext(1), body=str(sent), subject="end", metadata={"number": sent})
        for thread in threads:
            thread.join(60)
    assert received == list(range(sent + 1))
    assert received_by_asyncio == received


def test_all_kinds_of_events_come(server: Postroom, client: Client) -> None:
    token = token_of(server, ext("events"))
    ann = client.as_user(ext("events"))
    state = ann.unread().state
    first = ann.send(ext("events"), body="A letter to myself.")
    ann.mark(first.id, read=True)
    ann.delete(first.id)
    second = ann.send(ext("events"), body="Another.")
    with Client(server.url, token=token) as page, closing(page.events(since=state)) as events:
        seen = []
        for event in events:
            seen.append((event.type, event.message_id))
            assert event.state
            if event.unread is not None:
                assert event.unread.messages == 1
            if event.message is not None and event.message.id == second.id:
                break
    assert ("message.created", second.id) in seen


def test_a_displaced_stream_ends(tmp_path: Path) -> None:
    with running(tmp_path, POSTROOM_STREAMS_PER_USER="1") as server:
        token = token_of(server, ext(1))
        with Client(server.url, token=token) as client:
            first = client.events()
            assert next(first).type == "unread"
            ended: list[Exception] = []

            def go_on() -> None:
                try:
                    next(first)
                except Displaced as error:
                    ended.append(error)

            thread = threading.Thread(target=go_on, daemon=True)
            thread.start()
            second = client.events()
            assert next(second).type == "unread"
            thread.join(30)
            assert [type(error) for error in ended] == [Displaced]
            second.close()


def test_a_stream_ends_with_its_token(server: Postroom, client: Client) -> None:
    token = token_of(server, ext("leaving"))
    ended: list[str] = []

    def follow() -> None:
        with Client(server.url, token=token) as page:
            try:
                for _ in page.events():
                    pass
            except Problem as problem:
                ended.append(problem.code)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    client.server.revoke(ext("leaving"))
    until(lambda: ended, "the stream ends")
    assert ended == ["token_revoked"]
    with pytest.raises(Problem) as caught:
        next(client.as_user(ext("leaving")).events())
    assert caught.value.status == 403


def test_a_state_that_nobody_knows_is_a_problem(client: Client) -> None:
    client.server.put_user(ext("lost"))
    with pytest.raises(Problem) as caught:
        list(client.as_user(ext("lost")).changes("1"))
    assert caught.value.code == "cannot_calculate_changes"
