"""What is not the server's, or nobody's: answers of other programs, limits and ids that are none,
texts that are no tokens.
"""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from postroom import Client, Problem, UnexpectedResponse, ext
from postroom.refs import path
from support import two_users, wait

# What another program answers, by the beginning of the path.
ANSWERS = {
    "wrong": (200, b'{"error":"no such api"}'),
    "none": (200, b"null"),
    "empty": (200, b"{}"),
    "list": (201, b"[]"),
    "nothing": (204, b""),
    "page": (200, b"<!doctype html>"),
}


class Answering(BaseHTTPRequestHandler):
    def answer(self) -> None:
        status, body = ANSWERS[self.path.split("/")[1]]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 (the base looks for them)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def others() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


@pytest.mark.anyio
@pytest.mark.parametrize("how", ANSWERS)
async def test_what_another_program_answers_is_no_answer(others: str, how: str, kind: Any) -> None:
    client = kind(f"{others}/{how}", token="x", retry_for=0)
    calls = {
        "unread": client.unread,
        "me": client.me,
        "send": lambda: client.send("bob", body=""),
        "batch": lambda: client.batch(filter={}, delete=True),
        "list": lambda: client.messages().page(),
        "create_token": lambda: client.server.create_token(1),
        "delete": lambda: client.delete(1),
        "revoke": lambda: client.server.revoke(1),
    }
    taken = []
    for name, make in calls.items():
        try:
            await wait(make())
            taken.append(name)
        except UnexpectedResponse:
            pass
    # Two of them should be answered by nothing.
    assert taken == (["delete", "revoke"] if how == "nothing" else [])
    await wait(client.close())


@pytest.mark.anyio
async def test_a_limit_that_is_none_is_not_left_out(client: Client, kind: Any) -> None:
    ann, bea = two_users(client)
    sent = client.as_user(ann).send(bea, body="Hello")
    token = client.server.create_token(bea, session="s1").token
    same = kind(client.url, token=token)
    server: Any = client.server
    calls: list[Any] = [
        lambda: same.batch(filter={}, up_to=None, delete=True),
        lambda: same.batch(filter={}, cursor=None, delete=True),
        lambda: same.batch(filter={}, ids=None, delete=True),
        lambda: same.batch(ids=[sent.id], filter=None, delete=True),
        lambda: same.change_conversation(sent.id, read=True, up_to=None),
        lambda: same.trash_conversation(sent.id, up_to=None),
        lambda: same.send(None, in_reply_to=sent.id, body="To everybody"),
        lambda: same.create_token("all scopes", scopes=None),
        lambda: server.create_token(bea, scopes=None),
        lambda: server.revoke(bea, session=None),
        lambda: server.erase_user(None),
        lambda: server.get_user(True),
        lambda: ext(None),
    ]
    for make in calls:
        with pytest.raises(TypeError):
            await wait(make())
    with pytest.raises(Problem):
        await wait(same.batch(filter={"with": None}, delete=True))
    assert (await wait(same.unread())).messages == 1
    await wait(same.close())


@pytest.mark.anyio
async def test_an_id_names_nothing_but_what_has_it(client: Client, kind: Any) -> None:
    ann, bea = two_users(client)
    sent = client.as_user(ann).send(bea, body="Hello")
    acting = kind(client.url, token=client.server.create_token(bea).token)
    for wrong in [f"../conversations/{sent.id}", f"{sent.id}?x", str(sent.id), "", None, True, 1.0]:
        for make in (
            acting.get_message,
            acting.mark,
            acting.delete,
            acting.unsend,
            acting.get_conversation,
            acting.change_conversation,
            acting.trash_conversation,
            acting.revoke_token,
        ):
            with pytest.raises(TypeError):
                await wait(make(wrong))
    assert (await wait(acting.unread())).messages == 1
    # A username may be dots, which in a path would name the folder above.
    paths = [path("/v1/users/{}", dots) for dots in (".", "..")]
    assert paths == ["/v1/users/name%3A.", "/v1/users/name%3A.."]
    await wait(acting.close())


@pytest.mark.parametrize("wrong", ["abc\ndef", "токен", "a b", "\0"])
def test_a_text_that_no_header_can_carry_is_refused(client: Client, wrong: str) -> None:
    options: list[dict[str, Any]] = [{"key": wrong}, {"token": wrong}]
    for option in options:
        with pytest.raises(ValueError, match="visible ASCII") as caught:
            Client(client.url, **option)
        assert wrong not in str(caught.value)
    with pytest.raises(ValueError, match="idempotency key"):
        client.send("ann", body="", idempotency_key=wrong)
