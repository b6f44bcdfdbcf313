"""For `TEMPLATES`: `"postroom.django.context_processors.unread"`."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from .unread import NOTHING, unread_of


def unread(request: HttpRequest) -> dict[str, Any]:
    """`postroom_unread` with `messages` and `conversations`; asked for only where it is shown."""

    def counts() -> Any:
        user = request.user
        return unread_of([user])[user.pk] if user.is_authenticated else NOTHING

    return {"postroom_unread": SimpleLazyObject(counts)}
