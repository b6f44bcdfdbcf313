"""Makes a Django app of the package."""

from django.apps import AppConfig
from django.core import checks

from .conf import problems


class PostroomConfig(AppConfig):
    """Connects the signals that keep users in step."""

    name = "postroom.django"
    label = "postroom"
    verbose_name = "Postroom"

    def ready(self) -> None:
        """Connects the signals, and checks the settings at each start."""
        from . import receivers

        receivers.connect()
        checks.register(problems)
