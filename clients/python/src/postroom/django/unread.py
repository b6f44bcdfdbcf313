"""Unread counts for badges: cached, and asked for in one call however many users there are."""

import logging
from collections.abc import Iterable
from typing import Any

from django.core.cache import cache

from postroom import PostroomError, ext
from postroom.models import Unread

from .client import patient_for
from .conf import settings

logger = logging.getLogger("postroom")

NOTHING = Unread(messages=0, conversations=0)
# Users whom one call can name.
MOST = 1000
# Seconds for which the server is not asked again after it failed.
REST = 10


def unread_of(users: Iterable[Any]) -> dict[Any, Unread]:
    """The unread counts of users, by their primary key.

    Counts may be as old as the setting `UNREAD_SECONDS`. Where the server does not answer they
    are 0: a page without a badge is better than no page.
    """
    wanted = {_name(user.pk): user.pk for user in users}
    found: dict[str, list[int] | None] = cache.get_many(wanted)
    missing = [name for name in wanted if name not in found]
    for start in range(0, len(missing), MOST):
        found.update(_ask({name: wanted[name] for name in missing[start : start + MOST]}))
    return {key: _counts(found.get(name)) for name, key in wanted.items()}


def forget_unread(key: Any) -> None:
    """Forgets the counts of the user with this primary key, whose mailbox was just changed."""
    cache.delete(_name(key))


def _ask(wanted: dict[str, Any]) -> dict[str, list[int] | None]:
    if not settings().url:
        return {}
    # Nobody waits for a badge.
    server = patient_for(0).server
    try:
        answer = server.unread(ext(key) for key in wanted.values())
    except PostroomError as error:
        logger.warning("no unread counts: %s", error)
        nothing: dict[str, list[int] | None] = dict.fromkeys(wanted)
        cache.set_many(nothing, REST)
        return nothing
    # Who has just joined may not be there yet.
    counts: dict[str, list[int] | None] = {name: [0, 0] for name in wanted}
    for row in answer.data:
        counts[_name(row.user.external_id)] = [row.messages, row.conversations]
    cache.set_many(counts, settings().unread_seconds)
    return counts


def _counts(found: list[int] | None) -> Unread:
    return Unread(messages=found[0], conversations=found[1]) if found else NOTHING


def _name(key: Any) -> str:
    return f"postroom.unread.{key}"
