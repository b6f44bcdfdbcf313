"""`manage.py open_shop`: what has to be on the server before the first member joins."""

from django.core.management import call_command
from django.core.management.base import BaseCommand

from postroom.django import client
from shop.views import SHOP


class Command(BaseCommand):
    """Makes the user whom announcements come from, and brings the members in step."""

    def handle(self, **options: object) -> None:
        """Can be repeated."""
        client().server.put_user(SHOP, kind="system", display_name="The shop")
        call_command("postroom_sync")
