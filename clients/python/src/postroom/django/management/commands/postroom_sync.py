"""`manage.py postroom_sync`."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from postroom import PostroomError
from postroom.django.client import client, ref_of
from postroom.django.conf import settings
from postroom.django.users import erase, record_of, version_now
from postroom.server import ServerUser, UserRecord


class Command(BaseCommand):
    """Brings the server's users in step with those of the app."""

    help = (
        "Tells Postroom of all users: once at the beginning, after bulk changes, which send no "
        "signals, and from time to time, in case the server was away when a user was saved."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The options."""
        parser.add_argument("--dry-run", action="store_true", help="only say what differs")
        parser.add_argument(
            "--erase",
            action="store_true",
            help="erase those on the server whom the app does not have any more; not where several "
            "apps share the server",
        )
        parser.add_argument("--batch-size", type=int, default=1000, help="users in a call (1000)")

    def handle(self, **options: Any) -> None:
        """Compares, then sends what differs."""
        if not settings().url:
            raise CommandError("POSTROOM has no URL")
        try:
            self.sync(options["dry_run"], options["erase"], options["batch_size"])
        except PostroomError as error:
            raise CommandError(str(error)) from error

    def sync(self, dry_run: bool, erasing: bool, size: int) -> None:
        """The whole of it; raises `CommandError` where users could not be sent."""
        theirs = {
            user.external_id: user
            for user in client().server.users()
            if user.external_id is not None and user.kind == "person"
        }
        counts: Counter[str] = Counter()
        for batch in self.batches(theirs, size, counts):
            if dry_run:
                counts["different"] += len(batch)
                continue
            for result in client().server.put_users(batch).results:
                counts[result.status] += 1
                if result.status == "failed":
                    reasons = "; ".join(f"{at.pointer}: {at.detail}" for at in result.errors)
                    self.stderr.write(f"{result.ref}: {reasons}")
        # What is left was not met among the app's users.
        for external_id in theirs:
            counts["unknown to the app"] += 1
            if erasing and not dry_run:
                erase(f"ext:{external_id}")
        self.stdout.write(", ".join(f"{status}: {counts[status]}" for status in sorted(counts)))
        if theirs and not erasing:
            self.stdout.write("Run it with --erase to erase those whom the app does not have.")
        if counts["failed"]:
            raise CommandError(f"{counts['failed']} users could not be sent")

    def batches(
        self, theirs: dict[str, ServerUser], size: int, counts: Counter[str]
    ) -> Iterator[list[UserRecord]]:
        """The users who differ, in batches; takes everybody whom the app has out of `theirs`."""
        version = version_now()
        users = get_user_model()._base_manager.order_by("pk").iterator(chunk_size=size)
        while some := list(islice(users, size)):
            batch: list[UserRecord] = []
            for user in some:
                record = record_of(user, version)
                known = theirs.pop(str(user.pk), None)
                if known and all(
                    getattr(known, name, value) == value
                    for name, value in record.items()
                    if name != "version"
                ):
                    counts["in step"] += 1
                else:
                    batch.append({"ref": ref_of(user), **record})
            if batch:
                yield batch
