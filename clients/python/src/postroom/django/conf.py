"""The settings: `POSTROOM` of Django's settings, then the environment, then what is here."""

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from django.conf import settings as project
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set; the names are in capitals there."""

    url: str = ""
    """The server; also POSTROOM_URL in the environment. Without it, all of this is off."""
    server_key: str = ""
    """A key with the scopes users, tokens, act and unread; also POSTROOM_SERVER_KEY."""
    webhook_secret: str = ""
    """Of the webhook that reports to this app; also POSTROOM_WEBHOOK_SECRET. Optional."""
    timeout: float = 5
    """Seconds for an answer of the server."""
    retry_for: float = 5
    """Seconds in which a call of a page or a command is tried again; signals try once."""
    token_seconds: int = 900
    """How long a browser token holds, 60 to 86,400."""
    unread_seconds: int = 30
    """How long unread counts are cached."""
    user_fields: str = "postroom.django.users.fields_of"
    """A function that says what the server learns of a user."""
    messages_of_deleted: Literal["keep", "withdraw"] = "keep"
    """What becomes of what a deleted user sent: `keep` or `withdraw`."""

    @property
    def fields_of(self) -> Callable[[Any], dict[str, Any]]:
        """The function that `user_fields` names."""
        function: Callable[[Any], dict[str, Any]] = import_string(self.user_fields)
        return function


FROM_ENVIRONMENT = {
    "url": "POSTROOM_URL",
    "server_key": "POSTROOM_SERVER_KEY",
    "webhook_secret": "POSTROOM_WEBHOOK_SECRET",
}


@cache
def settings() -> Settings:
    """The settings in force; raises `ImproperlyConfigured` for a name that does not exist."""
    known = {field.name.upper(): field.name for field in fields(Settings)}
    written: dict[str, Any] = getattr(project, "POSTROOM", {})
    if unknown := sorted(set(written) - set(known)):
        names = ", ".join(known)
        raise ImproperlyConfigured(f"POSTROOM has no setting {unknown[0]!r}; there are {names}")
    values: dict[str, Any] = {
        name: os.environ[variable]
        for name, variable in FROM_ENVIRONMENT.items()
        if variable in os.environ
    }
    values.update((known[name], value) for name, value in written.items())
    return Settings(**values)


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "POSTROOM":
        settings.cache_clear()


# Tests override settings.
setting_changed.connect(_forget)


def problems(**_: Any) -> list[checks.CheckMessage]:
    """What is wrong with the settings, for `manage.py check`."""
    try:
        found = settings()
        found.fields_of  # noqa: B018 (it may not exist)
    except (ImproperlyConfigured, ImportError) as error:
        return [checks.Error(str(error), id="postroom.E001")]
    if not found.url:
        text, hint = "POSTROOM has no URL: nobody is kept in step", "Set it, or POSTROOM_URL."
        return [checks.Warning(text, hint=hint, id="postroom.W001")]
    if not found.server_key:
        hint = "Set it, or POSTROOM_SERVER_KEY: `postroom key add` makes one."
        return [checks.Error("POSTROOM has no SERVER_KEY", hint=hint, id="postroom.E002")]
    return []
