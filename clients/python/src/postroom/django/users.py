"""Keeping the server's users in step with those of the app."""

import logging
import time
from typing import Any, cast

from django.db.models import Model
from django.utils.crypto import salted_hmac

from postroom import PostroomError, Problem
from postroom.server import UserFields

from .client import patient_for, ref_of
from .conf import settings
from .unread import forget_unread

logger = logging.getLogger("postroom")


def fields_of(user: Any) -> UserFields:
    """What the server learns of a user: name, e-mail address, and whether they may use it.

    Name another function by `POSTROOM["USER_FIELDS"]` for a user model without these.
    """
    return {
        "display_name": user.get_full_name() or user.get_username(),
        "email": user.email or None,
        "active": user.is_active,
    }


def record_of(user: Any, version: int) -> UserFields:
    """What is sent of a user, as of a version."""
    return cast(UserFields, {**settings().fields_of(user), "version": version})


def version_now() -> int:
    """The version of what is read from the database after this: milliseconds since 1970.

    Updates may arrive in any order; the server keeps the newest.
    """
    return time.time_ns() // 1_000_000


def session_name(session_key: str) -> str:
    """What the server calls a session of the app, which must not learn its key."""
    return salted_hmac("postroom.session", session_key, algorithm="sha256").hexdigest()


def push(model: type[Model], key: Any, using: str) -> None:
    """Tells the server of a user. A failure is logged, and `manage.py postroom_sync` mends it."""
    # Read after the version is taken, so that of two saves at once the last one counts; and whole,
    # whatever the view had loaded of it.
    version = version_now()
    user = model._base_manager.using(using).filter(pk=key).first()
    if user is None:
        return
    try:
        patient_for(0).server.put_user(ref_of(user), **record_of(user, version))
    except PostroomError as error:
        logger.warning("%s was saved, and Postroom does not know: %s", ref_of(user), error)


def erase(ref: str) -> None:
    """Erases a user on the server. A failure is logged, and `postroom_sync --erase` mends it."""
    forget_unread(ref.removeprefix("ext:"))
    try:
        patient_for(0).server.erase_user(ref, messages=settings().messages_of_deleted)
    except PostroomError as error:
        # The server never had them, or has erased them before.
        if not (isinstance(error, Problem) and error.status in (404, 410)):
            logger.error("%s was deleted, and Postroom still has them: %s", ref, error)


def end_session(ref: str, session_key: str) -> None:
    """Ends the browser tokens of a session of the app."""
    try:
        patient_for(0).server.revoke(ref, session=session_name(session_key))
    except PostroomError as error:
        logger.warning("%s logged out, and their browser tokens hold on: %s", ref, error)
