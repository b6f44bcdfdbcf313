"""What calls return, and what they take.

Members that a newer server adds are ignored, and words (`kind`, `status`, `code`) are plain text,
so a client goes on working with it. Times are aware datetimes in UTC.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar

from msgspec import Struct, field

from .refs import Ref

T = TypeVar("T")

Folder = Literal["inbox", "sent", "archive", "trash", "all"]
AcceptFrom = Literal["everyone", "known", "nobody"]


class Page(Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    data: list[T]
    next_cursor: str | None = None
    """Where the next page starts; `None` on the last page."""
    state: str | None = None
    """Of a mailbox list, on its first page: the state to continue from, see `changes`."""


class Person(Struct, frozen=True, kw_only=True):
    """A user as other users see them."""

    id: int
    username: str
    display_name: str
    external_id: str | None = None
    """The app's own id for them; `None` for accounts that registered themselves."""
    kind: str = "person"
    """`person` or `system`."""
    mixed_scripts: bool = False
    """Whether a word of a name mixes scripts that look alike: show the username or id as well."""


class Account(Struct, frozen=True, kw_only=True):
    """A user as they see themselves."""

    id: int
    username: str
    display_name: str
    email: str | None
    accept_from: str
    reminders: bool
    created_at: datetime
    external_id: str | None = None
    kind: str = "person"
    mixed_scripts: bool = False


class AccountChange(TypedDict, total=False):
    """What to change in an account; what is left out stays."""

    display_name: str | None
    email: str
    accept_from: AcceptFrom
    reminders: bool


class Token(Struct, frozen=True, kw_only=True):
    """An API token as its owner sees it."""

    id: int
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class CreatedToken(Struct, frozen=True, kw_only=True):
    """A new API token; `token` is shown only this once."""

    id: int
    name: str
    scopes: list[str]
    token: str
    user_id: int
    created_at: datetime
    expires_at: datetime | None = None


class MessageItem(Struct, frozen=True, kw_only=True):
    """A message in a list. The times `…_at` are the caller's own marks.

    `to` are the first five recipients, the caller among them if they are one; all of them with
    `fields="full"`.
    """

    id: int
    conversation_id: int
    in_reply_to: int | None = None
    sender: Person = field(name="from")
    to: list[Person]
    to_count: int | None = None
    """How many recipients there are; `None` from an older server, which names all of them."""
    subject: str
    snippet: str
    """The first 140 characters of the text."""
    body: str | None = None
    """The whole text, where it was asked for by `fields="full"`."""
    sent_at: datetime
    read_at: datetime | None = None
    starred_at: datetime | None = None
    archived_at: datetime | None = None
    trashed_at: datetime | None = None
    client_id: str | None = None
    metadata: dict[str, Any] | None = None
    """Only where it was asked for by `fields`: `"metadata"` or `"full"`."""
    via: str | None = None
    """The server key that sent it for the user."""


class Message(Struct, frozen=True, kw_only=True):
    """A message with its whole text."""

    id: int
    conversation_id: int
    in_reply_to: int | None = None
    sender: Person = field(name="from")
    to: list[Person]
    subject: str
    body: str
    sent_at: datetime
    read_at: datetime | None = None
    starred_at: datetime | None = None
    archived_at: datetime | None = None
    trashed_at: datetime | None = None
    client_id: str | None = None
    metadata: dict[str, Any] | None = None
    via: str | None = None


class Refused(Struct, frozen=True, kw_only=True):
    """A recipient whom a message did not reach."""

    to: Ref
    code: str


class Sent(Struct, frozen=True, kw_only=True):
    """A message that was sent. A caller who may not read, or who has deleted it, gets `id` alone."""

    id: int
    refused: list[Refused]
    conversation_id: int | None = None
    in_reply_to: int | None = None
    to: list[Person] | None = None
    subject: str | None = None
    body: str | None = None
    sent_at: datetime | None = None
    client_id: str | None = None
    metadata: dict[str, Any] | None = None
    via: str | None = None


class Marked(Struct, frozen=True, kw_only=True):
    """The marks of a message after a change."""

    id: int
    read_at: datetime | None = None
    starred_at: datetime | None = None
    archived_at: datetime | None = None
    trashed_at: datetime | None = None


class Marks(TypedDict, total=False):
    """How to mark messages; what is left out stays."""

    read: bool
    starred: bool
    archived: bool
    trashed: bool


Filter = TypedDict(
    "Filter",
    {
        "folder": Folder,
        "unread": bool,
        "starred": bool,
        "with": Ref,
        "conversation": int,
        "since": datetime,
        "until": datetime,
        "q": str,
    },
    total=False,
)
"""Selects messages; each condition that is given must hold."""


class Batch(Struct, frozen=True, kw_only=True):
    """What a batch has done."""

    updated: list[int]
    destroyed: list[int]
    not_found: list[int]
    next_cursor: str | None = None


class Withdrawn(Struct, frozen=True, kw_only=True):
    """Who does not have a message any more, and who has read and keeps it; ids of users.

    Both are `None` for a token without the scope `messages:read`.
    """

    withdrawn_from: list[int] | None = None
    read_by: list[int] | None = None


class Unread(Struct, frozen=True, kw_only=True):
    """The unread counts of the inbox."""

    messages: int
    conversations: int
    state: str | None = None


class Conversation(Struct, frozen=True, kw_only=True):
    """A conversation as the caller sees it; in a list with the first five participants."""

    id: int
    subject: str
    participants: list[Person]
    participants_count: int | None = None
    """How many there are; `None` from an older server, which names all of them."""
    last_message: MessageItem | None = None
    unread: int = 0
    muted: bool = False


class ChangedConversation(Struct, frozen=True, kw_only=True):
    """A conversation that was changed. A caller who may not read gets `id` alone."""

    id: int
    subject: str | None = None
    participants: list[Person] | None = None
    participants_count: int | None = None
    last_message: MessageItem | None = None
    unread: int | None = None
    muted: bool | None = None


class Block(Struct, frozen=True, kw_only=True):
    """A user whom the caller blocks."""

    user: Person
    created_at: datetime


class Changes(Struct, frozen=True, kw_only=True):
    """What happened in a mailbox between two states: ids of messages."""

    old_state: str
    new_state: str
    has_more: bool
    created: list[int]
    updated: list[int]
    destroyed: list[int]


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened in a mailbox.

    `type` is `message.created`, `message.updated` (both with `message`), `message.destroyed`,
    `unread` (with `unread`), or `reset`: events were lost, load the lists again.
    """

    type: str
    state: str | None
    """Where to resume: pass it to `events(since=…)`."""
    message_id: int | None = None
    message: MessageItem | None = None
    unread: Unread | None = None
