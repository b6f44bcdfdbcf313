"""Every call, by both clients against a real server."""

import inspect
import json
import secrets
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import HTTPServer, SimpleHTTPRequestHandler
from typing import Any

import pytest

from postroom import AsyncClient, Client, Problem, UnexpectedResponse, Unreachable, ext
from postroom.calls import call, pages
from postroom.mailbox import MailboxCalls
from postroom.server import ServerCalls
from support import Postroom, wait

PASSWORD = "seven-white-geese"


@pytest.fixture(scope="module", autouse=True)
def every_call_is_made() -> Iterator[None]:
    """Fails at the end where a call of the package was not made by both clients."""
    described = {
        (made, calls, name)
        for made in (Client, AsyncClient)
        for calls in (MailboxCalls, ServerCalls)
        for name, value in vars(calls).items()
        if isinstance(value, call | pages)
    }
    yield
    assert described - MADE == set()


MADE: set[tuple[Any, Any, str]] = set()


class Noting:
    """Notes which calls are made."""

    def __init__(self, client: Any, kind: Any, calls: Any) -> None:
        self._of = (client, kind, calls)

    def __getattr__(self, name: str) -> Any:
        client, kind, calls = self._of
        MADE.add((kind, calls, name))
        return getattr(client, name)


def names(count: int) -> list[str]:
    """External ids that no other test has."""
    return [ext(secrets.token_hex(8)) for _ in range(count)]


async def listed(listing: Any) -> list[Any]:
    if hasattr(listing, "__aiter__"):
        return [item async for item in listing]
    return list(listing)


async def refused(value: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        await wait(value())
    return caught.value


@pytest.mark.anyio
async def test_the_server_keeps_the_users_of_an_app(server: Postroom, kind: Any) -> None:
    client = kind(server.url, key=server.key)
    of = Noting(client.server, kind, ServerCalls)
    ann, bea, cid = names(3)

    assert "users" in (await wait(of.key())).scopes
    made = await wait(of.put_user(ann, display_name="Ann", email="ann@example.org", version=5))
    assert (ext(made.external_id), made.display_name, made.active) == (ann, "Ann", True)
    merged = await wait(of.put_user(ann, email=None, version=6))
    assert (merged.id, merged.display_name, merged.email) == (made.id, "Ann", None)
    assert (await wait(of.put_user(ann, display_name="Before", version=4))).stale
    found = await wait(of.get_user(ann))
    assert (found.display_name, found.unread.messages, found.sessions) == ("Ann", 0, 0)
    assert (await wait(of.put_user(ann, display_name="A" * 120))).changed == ["display_name"]

    batch = await wait(
        of.put_users([{"ref": bea, "display_name": "Bea"}, {"ref": cid, "email": "no address"}])
    )
    assert [result.status for result in batch.results] == ["created", "failed"]
    assert "/email" in (batch.results[1].errors[0].pointer or "")
    hour = datetime.now(UTC) - timedelta(hours=1)
    everybody = await listed(of.users(updated_since=hour, active=True, limit=3))
    assert {ann, bea} <= {ext(user.external_id) for user in everybody}

    token = await wait(of.create_token(cid, expires_in=600, session="s1", create={}))
    assert ext(token.user.external_id) == cid
    assert token.expires_at > datetime.now(UTC)
    answered = json.loads(json.dumps(token.as_json()))
    assert answered["token"] == token.token
    assert datetime.fromisoformat(answered["expires_at"]) == token.expires_at
    page = kind(server.url, token=token.token)
    assert (await wait(page.me())).id == token.user.id
    await wait(of.revoke(cid, session="s1"))
    assert (await refused(page.me)).code == "token_revoked"

    shop = names(1)[0]
    await wait(of.put_user(shop, kind="system", display_name=f"Shop {shop[4:]}"))
    welcome = await wait(of.send(shop, [ann, bea], subject="Welcome", body="Hello."))
    assert [ext(copy.user.external_id) for copy in welcome.messages] == [ann, bea]
    assert welcome.refused == []
    unread = await wait(of.unread([ann, bea, names(1)[0]]))
    assert [row.messages for row in unread.data] == [1, 1]
    assert len(unread.not_found) == 1
    waiting = await listed(of.all_unread(limit=1))
    assert {ann, bea} <= {ext(row.user.external_id) for row in waiting}

    await wait(of.put_user(bea, active=False))
    acting = client.as_user(bea)
    assert (await refused(acting.me)).code == "user_deactivated"
    await wait(of.erase_user(bea, messages="withdraw"))
    gone = await refused(lambda: of.put_user(bea, display_name="Bea"))
    assert (gone.status, gone.code) == (410, "user_erased")

    dan = f"dan-{secrets.token_hex(4)}"
    stranger = kind(server.url)
    await wait(stranger.register(dan, email="dan@example.org", password=PASSWORD))
    own = names(1)[0]
    linked = await wait(of.link_user(dan, own.removeprefix("ext:")))
    assert (linked.username, ext(linked.external_id)) == (dan, own)
    for made in (client, page, stranger):
        await wait(made.close())


@pytest.mark.anyio
async def test_users_write_to_each_other(server: Postroom, kind: Any) -> None:
    client = kind(server.url, key=server.key)
    ann_ref, bea_ref = names(2)
    for ref, name in [(ann_ref, "Ann"), (bea_ref, "Bea Bear")]:
        await wait(client.server.put_user(ref, display_name=name))
    ann, bea = client.as_user(ann_ref), Noting(client.as_user(bea_ref), kind, MailboxCalls)

    start = (await wait(bea.unread())).state
    sent = await wait(
        ann.send([bea_ref, "nobody"], subject="Hello", body="How are you?", metadata={"a": [1]})
    )
    assert [(one.to, one.code) for one in sent.refused] == [("nobody", "unknown_recipient")]
    more = [await wait(ann.send(bea_ref, body=f"No. {at}", client_id="c")) for at in range(4)]

    message = await wait(bea.get_message(sent.id))
    assert (message.sender.display_name, message.body) == ("Ann", "How are you?")
    assert (message.metadata, message.sent_at.tzinfo) == ({"a": [1]}, UTC)
    in_order = [one.id for one in [*reversed(more), sent]]
    assert [item.id for item in await listed(bea.messages(limit=2))] == in_order
    since = datetime.now(UTC) - timedelta(hours=1)
    fitting = bea.messages(
        folder="all", unread=True, with_user=ann_ref, since=since, q="how are", conversation=sent.id
    )
    [item] = await listed(fitting)
    assert (item.snippet, item.to_count, item.metadata) == ("How are you?", 1, None)
    [item] = await listed(bea.messages(q="how are", fields="metadata"))
    assert (item.metadata, item.body) == ({"a": [1]}, None)
    [item] = await listed(bea.messages(q="how are", fields="full"))
    assert (item.metadata, item.body) == ({"a": [1]}, "How are you?")
    assert (await wait(bea.unread())).messages == 5

    assert (await wait(bea.mark(sent.id, read=True, starred=True))).starred_at is not None
    reply = await wait(bea.send(in_reply_to=sent.id, body="Fine."))
    assert (reply.conversation_id, reply.subject) == (sent.id, "Re: Hello")
    assert (await wait(bea.unsend(reply.id))).read_by == []
    await wait(bea.delete(more[0].id))
    assert (await refused(lambda: bea.get_message(more[0].id))).code == "not_found"
    done = await wait(bea.batch(ids=[more[1].id, more[0].id], marks={"read": True}))
    assert (done.updated, done.not_found) == ([more[1].id], [more[0].id])
    done = await wait(bea.batch(filter={"unread": True}, up_to=more[2].id, delete=True))
    assert done.destroyed == [more[2].id]

    page = await wait(bea.get_changes(start, limit=1))
    assert page.has_more
    following = client.as_user(bea_ref).changes(start)
    changes = await listed(following)
    assert {one for page in changes for one in page.created} >= {more[1].id, more[3].id, sent.id}
    assert not changes[-1].has_more

    await wait(ann.send(in_reply_to=sent.id, body="Good."))
    conversation = (await listed(bea.conversations(limit=1, fields="metadata")))[0]
    assert (conversation.participants_count, conversation.last_message.metadata) == (2, None)
    assert (conversation.id, conversation.last_message.snippet) == (sent.id, "Good.")
    changed = await wait(bea.change_conversation(sent.id, read=True, muted=True))
    assert (changed.unread, changed.muted) == (0, True)
    await wait(bea.trash_conversation(sent.id, up_to=sent.id))
    assert (await wait(bea.get_conversation(sent.id))).last_message.snippet == "Good."

    await wait(bea.block(ann_ref))
    assert [ext(one.user.external_id) for one in await listed(bea.blocks())] == [ann_ref]
    no = await refused(lambda: ann.send([bea_ref], body="Are you there?"))
    assert (no.status, no.code) == (403, "recipient_unavailable")
    assert [(one.pointer, one.code) for one in no.errors] == [("#/to/0", "recipient_unavailable")]
    assert no.request_id
    assert no.request_id in str(no)
    await wait(bea.unblock(ann_ref))
    assert (await wait(bea.get_user(ann_ref))).display_name == "Ann"
    found = await wait(bea.find_users("bear"))
    assert bea_ref in [ext(one.external_id) for one in found.data if one.external_id]
    assert (await wait(bea.change_me(accept_from="known"))).accept_from == "known"
    assert (await wait(bea.me())).accept_from == "known"
    await wait(client.close())


@pytest.mark.anyio
async def test_a_list_goes_on_where_a_page_is_empty(server: Postroom, kind: Any) -> None:
    client = kind(server.url, key=server.key)
    (ref,) = names(1)
    await wait(client.server.put_user(ref, display_name="Ann"))
    ann = client.as_user(ref)
    needle = await wait(ann.send(ref, body="a needle"))
    # Unicode makes 18 letters of each: a page looks at a few such messages.
    for _ in range(7):
        await wait(ann.send(ref, body="\ufdfa" * 21845))
    found = ann.messages(q="needle")
    first = await wait(found.page())
    assert first.data == []
    assert first.next_cursor
    assert [item.id for item in await listed(found)] == [needle.id]
    await wait(client.close())


@pytest.mark.anyio
async def test_accounts_of_postroom_itself_use_tokens(server: Postroom, kind: Any) -> None:
    name = f"eve-{secrets.token_hex(4)}"
    stranger = kind(server.url)
    by_stranger = Noting(stranger, kind, MailboxCalls)
    await wait(by_stranger.register(name, email="eve@example.org", password=PASSWORD))
    made = await wait(
        by_stranger.create_token("laptop", username=name, password=PASSWORD, scopes=["account"])
    )
    client = kind(server.url, token=made.token)
    eve = Noting(client, kind, MailboxCalls)
    other = await wait(eve.create_token("phone", expires_at=datetime.now(UTC) + timedelta(days=1)))
    assert [token.name for token in (await wait(eve.tokens())).data] == ["phone", "laptop"]
    await wait(eve.revoke_token(other.id))
    assert [token.name for token in (await wait(eve.tokens())).data] == ["laptop"]
    await wait(eve.erase_me(password=PASSWORD))
    assert (await refused(eve.me)).status == 401
    for one in (client, stranger):
        await wait(one.close())


@pytest.mark.anyio
async def test_a_token_that_only_writes_is_told_ids(server: Postroom, kind: Any) -> None:
    name = f"wil-{secrets.token_hex(4)}"
    stranger = kind(server.url)
    await wait(stranger.register(name, email="wil@example.org", password=PASSWORD))
    made = await wait(
        stranger.create_token("sender", username=name, password=PASSWORD, scopes=["messages:write"])
    )
    wil = kind(server.url, token=made.token)
    sent = await wait(wil.send([name], body="to myself"))
    assert (sent.refused, sent.body) == ([], None)
    assert (await wait(wil.mark(sent.id, starred=True))).starred_at is None
    assert (await wait(wil.change_conversation(sent.id, muted=True))).muted is None
    assert (await wait(wil.unsend(sent.id))).read_by is None
    searched = await refused(lambda: wil.batch(filter={"q": "myself"}, marks={"read": True}))
    assert (searched.status, searched.code) == (403, "missing_scope")
    for one in (wil, stranger):
        await wait(one.close())


@pytest.mark.anyio
async def test_mistakes_are_named(server: Postroom, kind: Any) -> None:
    stranger = kind(server.url)
    problem = await refused(lambda: stranger.register("a b", email="a@b.de", password="short"))
    assert (problem.status, problem.code) == (422, "invalid")
    assert [error.pointer for error in problem.errors] == ["#/username", "#/password"]
    assert "#/username" in str(problem)
    assert "#/password" in str(problem)
    nowhere = kind("http://127.0.0.1:9", retry_for=0.5)
    with pytest.raises(Unreachable, match="GET /v1/unread"):
        await wait(nowhere.unread())
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        page = kind(f"http://127.0.0.1:{files.server_port}")
        with pytest.raises(UnexpectedResponse, match="404"):
            await wait(page.unread())
        files.shutdown()
    with pytest.raises(ValueError, match="not both"):
        kind(server.url, key="prk_1", token="prt_1")
    for one in (stranger, nowhere, page):
        await wait(one.close())


def test_digits_are_an_id_or_a_name(client: Client) -> None:
    digits = str(secrets.randbelow(10**12) + 10**12)
    ref = names(1)[0]
    user = client.server.put_user(ref, username=digits)
    for same in (user.id, digits, ref, f"name:{digits}"):
        assert client.server.get_user(same).id == user.id
        assert client.as_user(same).me().id == user.id
    odd = ext("a/b?c=é&%2F#1 d")
    assert client.server.put_user(odd, display_name="Odd").external_id == odd[4:]
    assert client.as_user(odd).me().display_name == "Odd"
    assert client.as_user(odd).send(odd, body="To myself").to[0].external_id == odd[4:]  # type: ignore[index]


def test_methods_have_names_signatures_and_words() -> None:
    send = Client("http://127.0.0.1:9").send
    assert "in_reply_to" in inspect.signature(send).parameters
    assert "self" not in inspect.signature(send).parameters
    assert (send.__doc__ or "").startswith("Sends a message")
