"""`{% load postroom %}`: unread counts in templates."""

from collections.abc import Iterable
from typing import Any

from django import template

from postroom.django.unread import unread_of
from postroom.models import Unread

register = template.Library()


@register.simple_tag
def postroom_unread(user: Any) -> int:
    """How many messages a user has not read: `{% postroom_unread member %}`."""
    return unread_of([user])[user.pk].messages if user.is_authenticated else 0


@register.simple_tag
def postroom_unread_of(users: Iterable[Any]) -> list[tuple[Any, Unread]]:
    """The same for many users by one call, as pairs of a user and their counts.

    `{% postroom_unread_of members as rows %}{% for member, unread in rows %}…`
    """
    everybody = list(users)
    counts = unread_of(everybody)
    return [(user, counts[user.pk]) for user in everybody]
