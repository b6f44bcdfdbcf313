"""What Django tells of users, passed on to the server.

It happens after the commit, and nothing that fails there breaks what the app does.
"""

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from . import users
from .client import ref_of
from .conf import settings

# Each login writes one and each change of the password the other; the server needs neither.
NOT_SENT = {"last_login", "password"}


def connect() -> None:
    """Connects the receivers below to the app's users."""
    model = get_user_model()
    post_save.connect(_saved, sender=model, dispatch_uid="postroom.saved")
    post_delete.connect(_deleted, sender=model, dispatch_uid="postroom.deleted")
    user_logged_out.connect(_logged_out, dispatch_uid="postroom.logged_out")


def _saved(
    instance: Any, raw: bool, using: str, update_fields: frozenset[str] | None, **_: Any
) -> None:
    if raw or not settings().url or (update_fields and update_fields <= NOT_SENT):
        return
    push = partial(users.push, type(instance), instance.pk, using)
    transaction.on_commit(push, using=using, robust=True)


def _deleted(instance: Any, using: str, **_: Any) -> None:
    if settings().url:
        # The instance loses its key before the commit.
        transaction.on_commit(partial(users.erase, ref_of(instance)), using=using, robust=True)


def _logged_out(request: Any, user: Any, **_: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if user is not None and key and settings().url:
        transaction.on_commit(partial(users.end_session, ref_of(user), key), robust=True)
