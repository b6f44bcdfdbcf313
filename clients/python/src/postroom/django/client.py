"""The client of this process, and how users are named."""

import os
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from postroom import Client, ext

from .conf import settings


def client() -> Client:
    """The client with the server key, shared by all threads of the process."""
    # A process that forks after the first call must not share its connections.
    return _of_process(os.getpid(), settings().retry_for)


def patient_for(seconds: float) -> Client:
    """The same with other patience; 0 tries each call once."""
    return _of_process(os.getpid(), seconds)


def ref_of(user: Any) -> str:
    """The ref of a user of this app: `ext:` and their primary key."""
    return ext(user.pk)


def for_user(user: Any, *, present: bool = False) -> Client:
    """A client whose calls are those of the user.

    `present`: they are looking at what it loads. It ends reminders, as a visit of theirs does.
    """
    return client().as_user(ref_of(user), present=present)


@cache
def _of_process(process: int, retry_for: float) -> Client:
    found = settings()
    return Client(found.url, key=found.server_key, timeout=found.timeout, retry_for=retry_for)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "POSTROOM":
        _of_process.cache_clear()


setting_changed.connect(_forget)
