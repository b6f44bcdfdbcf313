"""What a client does when the network or the server fails: nothing is lost, nothing done twice."""

import pickle
import secrets
import threading
import time
from pathlib import Path
from types import NoneType
from typing import Any

import httpx
import pytest

from postroom import Client, Problem, Request, UnexpectedResponse, Unreachable, ext
from postroom.transport import Attempts
from support import Breaking, Postroom, running, two_users, wait


@pytest.mark.anyio
async def test_a_lost_answer_sends_nothing_twice(
    server: Postroom, client: Client, kind: Any
) -> None:
    ann, bea = two_users(client)
    proxy = Breaking(server.address)
    through = kind(proxy.url, key=server.key)
    try:
        proxy.cuts = 2
        sent = await wait(through.as_user(ann).send(bea, body="Once."))
        assert proxy.requests == 3
        proxy.cuts = 1
        assert (await wait(through.as_user(bea).mark(sent.id, read=True))).read_at is not None
    finally:
        await wait(through.close())
        proxy.close()
    assert [item.snippet for item in client.as_user(bea).messages()] == ["Once."]


def test_what_cannot_be_repeated_is_not(server: Postroom, client: Client) -> None:
    ann, bea = two_users(client)
    proxy = Breaking(server.address)
    with Client(proxy.url, key=server.key) as through:
        proxy.cuts = 1
        with pytest.raises(Unreachable):
            through.as_user(bea).batch(filter={"unread": True}, marks={"read": True})
        assert proxy.requests == 1
        client.as_user(ann).send(bea, body="Later")
        assert through.as_user(bea).batch(filter={"unread": True}, delete=True).destroyed
    proxy.close()


def test_the_key_of_a_task_holds_over_its_runs(client: Client) -> None:
    ann, bea = two_users(client)
    key = f"task-{secrets.token_hex(8)}"
    first = client.as_user(ann).send(bea, body="Once.", idempotency_key=key)
    assert client.as_user(ann).send(bea, body="Once.", idempotency_key=key).id == first.id
    with pytest.raises(Problem) as caught:
        client.as_user(ann).send(bea, body="Other.", idempotency_key=key)
    assert caught.value.code == "idempotency_key_reused"


def test_a_restart_of_the_server_is_waited_for(tmp_path: Path) -> None:
    with running(tmp_path) as server, Client(server.url, key=server.key) as client:
        ann, bea = two_users(client)
        server.stop()
        restart = threading.Timer(1, server.start)
        restart.start()
        client.as_user(ann).send(bea, body="Across the restart")
        restart.join()
        assert client.as_user(bea).unread().messages == 1


def test_limits_are_told_at_once_where_waiting_is_too_long(tmp_path: Path) -> None:
    # A third of it holds for new accounts.
    limits = {"POSTROOM_RATE_LIMITS": "on", "POSTROOM_SENDS_PER_HOUR": "9"}
    with running(tmp_path, **limits) as server, Client(server.url, key=server.key) as client:
        ann, _ = two_users(client)
        for at in range(3):
            client.as_user(ann).send(ann, body=f"No. {at}")
        start = time.monotonic()
        with pytest.raises(Problem) as caught:
            client.as_user(ann).send(ann, body="No. 4")
        assert (caught.value.status, caught.value.code) == (429, "quota_exceeded")
        assert (caught.value.retry_after or 0) > 30
        assert time.monotonic() - start < 20


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    kind = {"Content-Type": "application/problem+json"}
    body = {"code": code, "status": status}
    return httpx.Response(status, json=body, headers={**kind, **headers})


@pytest.mark.parametrize(
    "response",
    [
        problem(409, "request_in_progress", **{"Retry-After": "2"}),
        problem(429, "rate_limited", **{"Retry-After": "2"}),
        problem(503, "unavailable", **{"Retry-After": "2"}),
        httpx.Response(503, text="a proxy's page", headers={"Retry-After": "2"}),
    ],
)
def test_retry_after_is_honoured(response: httpx.Response) -> None:
    request = Request("POST", "/v1/messages", NoneType)
    pause = Attempts(request, 30).pause_after(response)
    assert pause is not None
    assert 2 < pause < 3
    with pytest.raises((Problem, UnexpectedResponse)):
        Attempts(request, 1).pause_after(response)


def test_what_will_not_change_is_not_tried_again() -> None:
    request = Request("POST", "/v1/users", NoneType)
    for refusal in [
        problem(409, "username_taken"),
        problem(422, "invalid"),
        problem(500, "internal"),
    ]:
        with pytest.raises(Problem):
            Attempts(request, 30).pause_after(refusal)
    unsafe = Request("POST", "/v1/messages/batch", NoneType, repeatable=False)
    with pytest.raises(Problem):
        Attempts(unsafe, 30).pause_after(problem(503, "unavailable"))
    assert Attempts(unsafe, 30).pause_after_error(httpx.ConnectError("refused")) > 0
    with pytest.raises(Unreachable):
        Attempts(unsafe, 30).pause_after_error(httpx.ReadTimeout("slow"))


def test_pauses_grow_and_end() -> None:
    attempts = Attempts(Request("GET", "/", NoneType), 60)
    pauses = [attempts.pause_after_error(httpx.ConnectError("refused")) for _ in range(8)]
    assert pauses[0] < 0.3
    assert max(pauses) <= 8
    assert pauses[-1] >= 4


def test_a_problem_crosses_processes(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.as_user(ext("nobody")).me()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.code, copy.status, str(copy)) == ("user_unknown", 404, str(caught.value))
