"""The calls of one user: messages, conversations, blocks, account."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Literal, Unpack

from msgspec import UNSET, UnsetType

from .calls import Request, call, pages
from .models import (
    Account,
    AccountChange,
    Batch,
    Block,
    ChangedConversation,
    Changes,
    Conversation,
    CreatedToken,
    Filter,
    Folder,
    Marked,
    Marks,
    Message,
    MessageItem,
    Page,
    Person,
    Sent,
    Token,
    Unread,
    Withdrawn,
)
from .refs import Ref, number, path, written


def given(**fields: Any) -> dict[str, Any]:
    """What is not `None`."""
    return {name: value for name, value in fields.items() if value is not None}


def limits(**fields: Any) -> dict[str, Any]:
    """What limits a call, if it is not left out. `None` would lift a limit that somebody meant."""
    for name, value in fields.items():
        if value is None:
            raise TypeError(f"{name} is None, and more would be done than was meant; leave it out")
    return {name: value for name, value in fields.items() if value is not UNSET}


def refs(to: Iterable[Ref] | Ref) -> list[Ref]:
    """One ref is a list of one; iterating over a text would give its letters."""
    return [to] if isinstance(to, int | str) else list(to)


class MailboxCalls:
    """What a user can do: the calls of `/v1`."""

    @call
    def send(
        self,
        to: Iterable[Ref] | Ref | UnsetType = UNSET,
        *,
        body: str,
        subject: str | None = None,
        in_reply_to: int | None = None,
        client_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Request[Sent]:
        """Sends a message; when this returns, it is on the server's disk.

        `to` are 1 to 100 users. A reply may leave it out: it goes to everybody whom the message
        that it answers names. Look at `refused`: those whom it did not reach. Retries send nothing
        twice; for a retry of your own (a task that is run again) name it by `idempotency_key`.
        """
        message = limits(to=to) | given(
            body=body,
            subject=subject,
            in_reply_to=in_reply_to,
            client_id=client_id,
            metadata=metadata,
        )
        if not isinstance(to, UnsetType):
            message["to"] = refs(to)
        return Request("POST", "/v1/messages", Sent, body=message, idempotency_key=idempotency_key)

    @pages
    def messages(
        self,
        *,
        folder: Folder | None = None,
        unread: bool | None = None,
        starred: bool | None = None,
        with_user: Ref | None = None,
        conversation: int | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
        fields: Literal["metadata", "full"] | None = None,
        limit: int = 100,
    ) -> Request[Page[MessageItem]]:
        """The messages that fit, the newest first; of the inbox where no folder is named.

        `limit` is the size of a page, at most 100. With `fields="metadata"` each has its metadata,
        with `"full"` also the whole text and all recipients, up to 1 MB a page.
        """
        query = given(
            folder=folder,
            unread=unread,
            starred=starred,
            conversation=conversation,
            since=since,
            until=until,
            q=q,
            fields=fields,
            limit=limit,
        )
        if with_user is not None:
            query["with"] = written(with_user)
        return Request("GET", "/v1/messages", Page[MessageItem], query)

    @call
    def get_message(self, message: int) -> Request[Message]:
        """The whole message. Reading it marks nothing: see `mark`."""
        return Request("GET", f"/v1/messages/{number(message)}", Message)

    @call
    def mark(self, message: int, **marks: Unpack[Marks]) -> Request[Marked]:
        """Marks a message: `mark(7, read=True, starred=False)`."""
        return Request("PATCH", f"/v1/messages/{number(message)}", Marked, body=marks)

    @call
    def delete(self, message: int) -> Request[None]:
        """Deletes a message from the user's own mailbox, for good."""
        return Request("DELETE", f"/v1/messages/{number(message)}", NoneType)

    @call
    def unsend(self, message: int) -> Request[Withdrawn]:
        """Takes a message back from every recipient who has never read it."""
        return Request("POST", f"/v1/messages/{number(message)}/unsend", Withdrawn)

    @call
    def batch(
        self,
        *,
        ids: Iterable[int] | UnsetType = UNSET,
        filter: Filter | UnsetType = UNSET,
        up_to: int | UnsetType = UNSET,
        cursor: str | UnsetType = UNSET,
        marks: Marks | None = None,
        delete: bool = False,
    ) -> Request[Batch]:
        """Marks or deletes up to 1,000 messages: by `ids`, or by `filter`.

        `up_to` is the newest message that the user has seen; nothing newer is touched. A batch by
        filter is continued with its `next_cursor` and the same `up_to`, until that is `None`. What
        is left out limits nothing; `None` is an error, so that no limit is lost.
        """
        batch = limits(ids=ids, filter=filter, up_to=up_to, cursor=cursor)
        batch |= given(set=marks, delete=delete or None)
        if not isinstance(ids, UnsetType):
            batch["ids"] = list(ids)
        # Without `up_to` a second try could take what came after the first.
        repeatable = filter is UNSET or up_to is not UNSET
        return Request("POST", "/v1/messages/batch", Batch, body=batch, repeatable=repeatable)

    @call
    def unread(self) -> Request[Unread]:
        """The unread counts of the inbox; exact and cheap."""
        return Request("GET", "/v1/unread", Unread)

    @call
    def get_changes(self, since: str, *, limit: int = 100) -> Request[Changes]:
        """One page of what happened since a state; `changes` turns the pages."""
        query = {"since": since, "limit": limit}
        return Request("GET", "/v1/changes", Changes, query)

    @pages
    def conversations(
        self, *, fields: Literal["metadata"] | None = None, limit: int = 100
    ) -> Request[Page[Conversation]]:
        """The conversations; the one with the newest message first.

        With `fields="metadata"` the `last_message` of each has its metadata.
        """
        query = given(fields=fields, limit=limit)
        return Request("GET", "/v1/conversations", Page[Conversation], query)

    @call
    def get_conversation(self, conversation: int) -> Request[Conversation]:
        """A conversation, by the id of its first message."""
        return Request("GET", f"/v1/conversations/{number(conversation)}", Conversation)

    @call
    def change_conversation(
        self,
        conversation: int,
        *,
        read: bool | None = None,
        muted: bool | None = None,
        up_to: int | UnsetType = UNSET,
    ) -> Request[ChangedConversation]:
        """Marks a conversation as read up to the message that the user has seen, or mutes it."""
        change = given(read=read, muted=muted) | limits(up_to=up_to)
        where = f"/v1/conversations/{number(conversation)}"
        return Request("PATCH", where, ChangedConversation, body=change)

    @call
    def trash_conversation(
        self, conversation: int, *, up_to: int | UnsetType = UNSET
    ) -> Request[None]:
        """Moves the user's copies to the trash, up to the message that the user has seen."""
        query = limits(up_to=up_to)
        return Request("DELETE", f"/v1/conversations/{number(conversation)}", NoneType, query)

    @pages
    def blocks(self, *, limit: int = 100) -> Request[Page[Block]]:
        """Whom the user blocks."""
        return Request("GET", "/v1/blocks", Page[Block], {"limit": limit})

    @call
    def block(self, user: Ref) -> Request[None]:
        """Takes no more messages from a user. They do not learn of it."""
        return Request("PUT", path("/v1/blocks/{}", user), NoneType)

    @call
    def unblock(self, user: Ref) -> Request[None]:
        """Takes messages from a user again."""
        return Request("DELETE", path("/v1/blocks/{}", user), NoneType)

    @call
    def find_users(self, prefix: str) -> Request[Page[Person]]:
        """Up to 20 users whose username, or a word of whose display name, begins like this."""
        return Request("GET", "/v1/users", Page[Person], {"prefix": prefix})

    @call
    def get_user(self, user: Ref) -> Request[Person]:
        """A user as others see them."""
        return Request("GET", path("/v1/users/{}", user), Person)

    @call
    def me(self) -> Request[Account]:
        """The user's own account."""
        return Request("GET", "/v1/users/me", Account)

    @call
    def change_me(self, **change: Unpack[AccountChange]) -> Request[Account]:
        """Changes the user's own account; what is left out stays."""
        return Request("PATCH", "/v1/users/me", Account, body=change)

    @call
    def erase_me(self, *, password: str | None = None) -> Request[None]:
        """Erases the user's own account."""
        # A second try would find no account, and call that an error.
        return Request(
            "DELETE", "/v1/users/me", NoneType, body=given(password=password), repeatable=False
        )

    @call
    def register(
        self, username: str, *, email: str, password: str, display_name: str | None = None
    ) -> Request[Account]:
        """Creates an account of Postroom itself; users of an app are made by `server.put_user`."""
        user = given(username=username, email=email, password=password, display_name=display_name)
        return Request("POST", "/v1/users", Account, body=user)

    @call
    def create_token(
        self,
        name: str,
        *,
        username: str | None = None,
        password: str | None = None,
        scopes: Iterable[str] | UnsetType = UNSET,
        expires_at: datetime | None = None,
    ) -> Request[CreatedToken]:
        """Creates an API token, for the caller or for a username and its password."""
        token = limits(scopes=scopes) | given(
            name=name, username=username, password=password, expires_at=expires_at
        )
        if not isinstance(scopes, UnsetType):
            token["scopes"] = list(scopes)
        return Request("POST", "/v1/tokens", CreatedToken, body=token)

    @call
    def tokens(self) -> Request[Page[Token]]:
        """The user's API tokens, without their secrets."""
        return Request("GET", "/v1/tokens", Page[Token])

    @call
    def revoke_token(self, token: int) -> Request[None]:
        """Ends an API token."""
        return Request("DELETE", f"/v1/tokens/{number(token)}", NoneType)
