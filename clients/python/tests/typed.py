"""What mypy knows of both clients. It is not run: mypy fails where a type is lost or a mistake of a
caller is not seen (an ignored error that is none is one).
"""

from typing import assert_type

from postroom import AsyncClient, AsyncListing, Client, Listing
from postroom.models import Changes, Event, MessageItem, Person, Sent, Unread
from postroom.server import PutUser, UserUnread


def by_threads(client: Client) -> None:
    assert_type(client.unread(), Unread)
    assert_type(client.send("ann", body="Hello"), Sent)
    assert_type(client.messages(unread=True), Listing[MessageItem])
    for message in client.as_user(7).messages():
        assert_type(message.sender, Person)
    for changes in client.changes("0"):
        assert_type(changes, Changes)
    for event in client.events():
        assert_type(event, Event)
    assert_type(client.server.put_user("ext:1", display_name=None, version=3), PutUser)
    assert_type(list(client.server.all_unread()), list[UserUnread])

    client.send("ann")  # type: ignore[call-arg]
    client.send("ann", body="Hello", subject=7)  # type: ignore[arg-type]
    client.messages(folder="drafts")  # type: ignore[arg-type]
    client.mark(7, red=True)  # type: ignore[call-arg]
    client.server.put_user("ext:1", displayname="Ann")  # type: ignore[call-arg]
    client.server.put_users([{"display_name": "Ann"}])  # type: ignore[typeddict-item]


async def by_asyncio(client: AsyncClient) -> None:
    assert_type(await client.unread(), Unread)
    assert_type(client.messages(), AsyncListing[MessageItem])
    async for message in client.as_user(7).messages():
        assert_type(message, MessageItem)
    async for changes in client.changes("0"):
        assert_type(changes, Changes)
    async for event in client.events():
        assert_type(event, Event)
    assert_type(await client.server.put_user("ext:1"), PutUser)

    for _ in client.messages():  # type: ignore[attr-defined]
        pass
    client.unread().messages  # type: ignore[attr-defined]  # noqa: B018
