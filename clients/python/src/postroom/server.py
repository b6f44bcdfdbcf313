"""The calls of the app's own server, which need a server key."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import NoneType
from typing import Any, Literal, Required, TypedDict, Unpack

import msgspec
from msgspec import UNSET, Struct, UnsetType

from .calls import Request, call, pages
from .errors import FieldError
from .mailbox import given, limits, refs
from .models import AcceptFrom, Page, Person, Refused, Unread
from .refs import Ref, path


class NewPerson(TypedDict, total=False):
    """What to make a person of. What is left out or `None` is as it is at first."""

    username: str | None
    display_name: str | None
    email: str | None
    accept_from: AcceptFrom | None
    reminders: bool | None
    findable: bool | None
    version: int | None
    """An older version than the stored one changes nothing, so updates may come in any order."""


class UserFields(NewPerson, total=False):
    """What the app says of a user. What is left out stays as it is; `None` makes it as it is at first."""

    active: bool
    """`False` ends tokens and streams and closes the mailbox; only `True` opens it again."""
    recreate: bool
    """Makes a user again who was erased."""
    kind: Literal["person", "system"]
    replies: bool
    """Of a system user: whether they can be answered."""


class UserRecord(UserFields, total=False):
    """The same with the user whom it is about, for a batch."""

    ref: Required[Ref]


class ServerKey(Struct, frozen=True, kw_only=True):
    """The server key that makes the calls."""

    id: int
    name: str
    scopes: list[str]
    expires_at: datetime | None = None


class ServerUser(Struct, frozen=True, kw_only=True):
    """A user as the app's server sees them."""

    id: int
    username: str
    display_name: str
    external_id: str | None = None
    kind: str = "person"
    email: str | None = None
    active: bool
    deactivated_at: datetime | None = None
    has_password: bool = False
    """Whether they can sign in by a password; the app's users need none."""
    accept_from: str
    reminders: bool
    findable: bool
    version: int | None = None
    created_at: datetime
    updated_at: datetime
    unread: Unread


class PutUser(ServerUser, frozen=True, kw_only=True):
    """A user, and what became of what the app said of them."""

    changed: list[str] = []
    """The fields that are kept in another form: `display_name` if it was cut."""
    stale: bool = False
    """Whether the version was older than the stored one, so that nothing changed."""


class WholeUser(ServerUser, frozen=True, kw_only=True):
    """A user with what they sign in by."""

    sessions: int = 0
    tokens: int = 0
    last_seen_at: datetime | None = None


class BatchResult(Struct, frozen=True, kw_only=True):
    """What became of one user of a batch."""

    ref: Ref
    status: str
    """`created`, `updated`, `unchanged`, `stale` or `failed`."""
    user: Person | None = None
    errors: list[FieldError] = []


class BatchResults(Struct, frozen=True, kw_only=True):
    """What became of each user of a batch, in its order."""

    results: list[BatchResult]


class BrowserToken(Struct, frozen=True, kw_only=True):
    """A token for the pages of one user."""

    token: str
    expires_at: datetime
    user: Person

    def as_json(self) -> dict[str, Any]:
        """What the route of the app answers, and `getToken` of the client for browsers takes."""
        answer: dict[str, Any] = msgspec.to_builtins(self)
        return answer


class UserUnread(Struct, frozen=True, kw_only=True):
    """The unread counts of a user."""

    user: Person
    messages: int
    conversations: int
    oldest_at: datetime | None = None


class UnreadOfMany(Struct, frozen=True, kw_only=True):
    """The unread counts of those who were asked for."""

    data: list[UserUnread]
    not_found: list[Ref]


class SystemMessage(Struct, frozen=True, kw_only=True):
    """One copy of a system message."""

    user: Person
    id: int


class SystemMessages(Struct, frozen=True, kw_only=True):
    """Who got a system message, and who did not."""

    messages: list[SystemMessage]
    refused: list[Refused]


class ServerCalls:
    """What the app's server can do: the calls of `/v1/server`."""

    @call
    def key(self) -> Request[ServerKey]:
        """The key that makes the calls: the first call of every integration."""
        return Request("GET", "/v1/server/key", ServerKey)

    @call
    def put_user(self, user: Ref, **fields: Unpack[UserFields]) -> Request[PutUser]:
        """Creates a user, or merges these fields into theirs. Only `ext:` refs create users."""
        return Request("PUT", path("/v1/server/users/{}", user), PutUser, body=fields)

    @call
    def put_users(self, users: Iterable[UserRecord]) -> Request[BatchResults]:
        """The same for up to 1,000 users. One that cannot be used fails alone: see `status`."""
        return Request("POST", "/v1/server/users/batch", BatchResults, body={"users": list(users)})

    @call
    def get_user(self, user: Ref) -> Request[WholeUser]:
        """All that the server knows of a user."""
        return Request("GET", path("/v1/server/users/{}", user), WholeUser)

    @pages
    def users(
        self,
        *,
        updated_since: datetime | None = None,
        active: bool | None = None,
        limit: int = 1000,
    ) -> Request[Page[ServerUser]]:
        """All users in the order of their last change, to compare with the app's own."""
        query = given(updated_since=updated_since, active=active, limit=limit)
        return Request("GET", "/v1/server/users", Page[ServerUser], query)

    @call
    def erase_user(
        self, user: Ref, *, messages: Literal["keep", "withdraw"] = "keep"
    ) -> Request[None]:
        """Erases a user with their mailbox. `withdraw` also takes back all that they sent."""
        query = {"messages": messages}
        return Request("DELETE", path("/v1/server/users/{}", user), NoneType, query)

    @call
    def link_user(
        self, user: Ref, external_id: str, *, end_logins: bool = True
    ) -> Request[ServerUser]:
        """Gives an account that registered itself the app's own id."""
        link = {"external_id": external_id, "end_logins": end_logins}
        return Request("POST", path("/v1/server/users/{}/link", user), ServerUser, body=link)

    @call
    def create_token(
        self,
        user: Ref,
        *,
        expires_in: int | None = None,
        scopes: Iterable[str] | UnsetType = UNSET,
        session: str | None = None,
        create: NewPerson | None = None,
    ) -> Request[BrowserToken]:
        """A token for the pages of one user, for 900 seconds unless `expires_in` says otherwise.

        `session` names the app's own session, so that `revoke` can end its tokens alone. `create`
        makes the user if there is none yet.
        """
        token = limits(scopes=scopes) | given(
            user=user, expires_in=expires_in, session=session, create=create
        )
        if not isinstance(scopes, UnsetType):
            token["scopes"] = list(scopes)
        return Request("POST", "/v1/server/tokens", BrowserToken, body=token)

    @call
    def revoke(self, user: Ref, *, session: str | UnsetType = UNSET) -> Request[None]:
        """Ends all browser tokens of a user, or those of one of the app's sessions."""
        where = path("/v1/server/users/{}/revoke", user)
        return Request("POST", where, NoneType, body=limits(session=session))

    @call
    def unread(self, users: Iterable[Ref]) -> Request[UnreadOfMany]:
        """The unread counts of up to 1,000 users. It does not count as their activity."""
        return Request("POST", "/v1/server/unread", UnreadOfMany, body={"users": refs(users)})

    @pages
    def all_unread(
        self, *, min: int = 1, oldest_before: datetime | None = None, limit: int = 1000
    ) -> Request[Page[UserUnread]]:
        """Everybody who has unread messages: for digests."""
        query = given(min=min, oldest_before=oldest_before, limit=limit)
        return Request("GET", "/v1/server/unread", Page[UserUnread], query)

    @call
    def send(
        self,
        sender: Ref,
        to: Iterable[Ref] | Ref,
        *,
        subject: str,
        body: str,
        metadata: Mapping[str, Any] | None = None,
        silent: bool | None = None,
        expires_at: datetime | None = None,
        reminder: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Request[SystemMessages]:
        """Sends a message from a system user to up to 1,000 users, to each on their own.

        `silent`: it is read from the start. At `expires_at` copies that are unread are withdrawn.
        """
        message = {
            "from": sender,
            "to": refs(to),
            "subject": subject,
            "body": body,
            **given(metadata=metadata, silent=silent, expires_at=expires_at, reminder=reminder),
        }
        return Request(
            "POST",
            "/v1/server/messages",
            SystemMessages,
            body=message,
            idempotency_key=idempotency_key,
        )
