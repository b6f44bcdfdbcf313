"""Makes the database of a Django app by its own code, and says what its users see in it, as the app's own
queries find it. Usage: app.py letters|postman|django_messages|pinax PATH|URL EXPECTED"""

import json
import sys
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import django
import django.dispatch
import django.utils.encoding
import django.utils.translation
from django.conf import settings

KIND, TARGET, EXPECTED = sys.argv[1:]
# django-messages and pinax-messages want what Django 4 has removed.
django.utils.encoding.python_2_unicode_compatible = lambda of: of
for name in ("gettext_lazy", "gettext_noop", "gettext"):
    setattr(django.utils.translation, f"u{name}", getattr(django.utils.translation, name))


class Signal(django.dispatch.Signal):
    def __init__(self, providing_args=None, **options):
        super().__init__(**options)


django.dispatch.Signal = Signal
APPS = {"letters": "letters", "postman": "postman", "django_messages": "django_messages", "pinax": "pinax.messages"}
url = urlsplit(TARGET)
if url.scheme == "postgres":
    database = {"ENGINE": "django.db.backends.postgresql", "HOST": url.hostname, "PORT": url.port, "USER": url.username,
                "NAME": url.path[1:]}
else:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": TARGET}
HASHERS = ["PBKDF2", "PBKDF2SHA1", "Argon2", "BCrypt", "BCryptSHA256", "Scrypt"]
settings.configure(
    SECRET_KEY="a secret of the app", USE_TZ=True, DATABASES={"default": database},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField", DJANGO_MESSAGES_NOTIFY=False, POSTMAN_AUTO_MODERATE_AS=True,
    PASSWORD_HASHERS=[f"django.contrib.auth.hashers.{name}PasswordHasher" for name in HASHERS],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sites", APPS[KIND]],
)
django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402

# Before the tables of an app without migrations, which refer to it.
call_command("migrate", "auth", verbosity=0)
call_command("migrate", run_syncdb=True, verbosity=0)
NOW = timezone.now()
people, folders, messages = {}, {}, {}


def person(name, password=None, username=None, **fields):
    """`username` is the name by which they sign in after the move."""
    # Numbers of their own, that are not those which an empty database would give.
    fields = {"id": 7 * len(people) + 11, "email": f"{name}@example.org".replace(" ", ""), **fields}
    user = User(username=name, password=password or make_password(None), **fields)
    user.save()
    people[user.pk] = {"username": username or name, "password": f"pässword of {name}" if password else None,
                       "active": user.is_active, "joined": user.date_joined.isoformat()}
    return user


def hashed(name, hasher):
    return make_password(f"pässword of {name}", hasher=hasher)


ann, ben, cat = (person(name, hashed(name, hasher)) for name, hasher in
                 [("ann", "pbkdf2_sha256"), ("ben", "pbkdf2_sha1"), ("cat", "argon2")])
if KIND == "letters":
    for name, hasher in [("dan", "bcrypt"), ("eve", "bcrypt_sha256"), ("fay", "scrypt")]:
        person(name, hashed(name, hasher))
    person("ANN", hashed("ANN", "pbkdf2_sha1"), username=f"ANN-{7 * 6 + 11}")
    person("gus smith", hashed("gus smith", "pbkdf2_sha1"), username=f"gus_smith-{7 * 7 + 11}")
    person("hal", hashed("hal", "pbkdf2_sha1"), is_active=False)
    person("ida")


def note(message, to, root, subject, body, sent_at):
    messages[message.pk] = {
        "from": message.sender_id, "to": sorted(user.pk for user in to), "root": root, "subject": subject, "body": body,
        "sent_at": sent_at.isoformat(),
        # Not every app knows it.
        "read_at": message.read_at.isoformat() if getattr(message, "read_at", None) else None}


def see(user, unread, **seen):
    """What a user sees in each folder, and what of it is new to them."""
    folders[user.pk] = {name: sorted(message.pk for message in found) for name, found in seen.items()}
    folders[user.pk]["unread"] = sorted(message.pk for message in unread)


def letters():
    from letters.models import Message

    def write(number, sender, receiver, days, is_read):
        at = NOW - timedelta(days=days, microseconds=number)
        message = Message.objects.create(
            id=number, sender=sender, receiver=receiver, subject=f"Létter {number}", body=f"line\r\n\u2003{number}",
            creation_date=at, is_read=is_read)
        note(message, [receiver], message.pk, message.subject, message.body, at)

    write(40, ann, ben, 900, True)
    write(41, ben, ann, 800, False)
    write(57, ann, cat, 30, False)
    write(58, ben, ann, 1, True)
    write(59, cat, ann, 0.5, False)
    for user in User.objects.all():
        see(user, user.received.filter(is_read=False), inbox=user.received.all(), sent=user.sent.all(), archive=[], trash=[])


def postman():
    from postman.api import pm_broadcast, pm_write
    from postman.models import Message

    old = pm_write(cat, ann, "Old", "long in the trash", skip_notification=True)
    Message.objects.filter(pk=old.pk).update(sent_at=NOW - timedelta(days=900),
                                             recipient_deleted_at=NOW - timedelta(days=800))
    first = pm_write(ann, ben, "Hello", "one", skip_notification=True)
    reply = Message(sender=ben, recipient=ann, subject="Re: Hello", body="two", parent=first, thread=first)
    # As its form does it.
    reply.auto_moderate([])
    reply.clean_moderation("p")
    reply.save()
    first.thread = first
    first.save()
    reply.update_parent("p")
    Message.objects.set_read(ben, django.db.models.Q(pk=first.pk))
    Message.objects.filter(pk=first.pk).update(sender_archived=True)
    pm_broadcast(cat, [ann, ben], "News", "for all", skip_notification=True)
    pm_write(ben, cat, "Gone", "in both", skip_notification=True, auto_delete=True)
    pm_write(ben, cat, "Refused", "no", skip_notification=True, auto_moderators=[lambda message: False])
    Message.objects.create(sender=ben, recipient=cat, subject="Waits", body="for a moderator")
    Message.objects.create(email="visitor@example.org", recipient=ann, subject="Hi", body="?", moderation_status="a")
    Message.objects.filter(recipient=ben, subject="News").update(recipient_archived=True)
    for message in Message.objects.exclude(sender=None):
        note(message, [message.recipient], message.thread_id or message.pk, message.subject, message.body, message.sent_at)
    of, visitors = Message.objects, Message.objects.filter(sender=None)
    for user in (ann, ben, cat):
        inbox = of.inbox(user, option="m").exclude(pk__in=visitors)
        see(user, inbox.filter(read_at=None), inbox=inbox, sent=of.sent(user, option="m"),
            archive=of.archives(user, option="m"), trash=of.trash(user, option="m"))


def django_messages():
    from django_messages.forms import ComposeForm
    from django_messages.models import Message

    def write(sender, to, subject, parent=None):
        form = ComposeForm({"recipient": ", ".join(user.username for user in to), "subject": subject, "body": "text"})
        assert form.is_valid(), form.errors
        return form.save(sender=sender, parent_msg=parent)

    one, other = write(ann, [ben, cat], "To both")
    (reply,) = write(ben, [ann], "Re: To both", one)
    (again,) = write(ann, [ben], "Re: Re: To both", reply)
    (deleted,) = write(cat, [ann], "For the trash")
    # What its views do.
    Message.objects.filter(pk=one.pk).update(read_at=NOW)
    Message.objects.filter(pk=deleted.pk).update(read_at=NOW, recipient_deleted_at=NOW, sender_deleted_at=NOW)
    gone = person("zoe")
    (lost,) = write(ann, [gone], "To somebody who is gone")
    del people[gone.pk]
    gone.delete()
    root = {one.pk: one, reply.pk: one, again.pk: one}
    for message in Message.objects.exclude(pk=lost.pk):
        note(message, [message.recipient], root.get(message.pk, message).pk, message.subject, message.body, message.sent_at)
    for user in (ann, ben, cat):
        inbox = Message.objects.inbox_for(user)
        see(user, inbox.filter(read_at=None), inbox=inbox, sent=Message.objects.outbox_for(user).exclude(pk=lost.pk),
            archive=[], trash=Message.objects.trash_for(user))


def pinax():
    from pinax.messages.models import Message, Thread, UserThread

    group = Message.new_message(ann, [ben, cat], "All of us", "one")
    answer = Message.new_reply(group.thread, ben, "two")
    Message.new_reply(group.thread, ann, "three")
    quiet = Message.new_message(cat, [ann], "Quiet", "read")
    gone = Message.new_message(ben, [ann], "Gone", "deleted")
    # What its views do.
    UserThread.objects.filter(thread=quiet.thread, user=ann).update(unread=False)
    UserThread.objects.filter(thread=gone.thread, user=ann).update(unread=False, deleted=True)
    roots = {}
    for message in Message.objects.order_by("pk"):
        to = message.thread.users.exclude(pk=message.sender_id)
        root = roots.setdefault(message.thread_id, message.pk)
        note(message, to, root, message.thread.subject, message.content, message.sent_at)
    for user in (ann, ben, cat):
        def received(threads):
            return Message.objects.filter(thread__in=threads).exclude(sender=user)
        unread = received(Thread.unread(user))
        if user == ben:
            # What was there when they answered is read.
            unread = unread.filter(pk__gt=answer.pk)
        see(user, unread, inbox=received(Thread.inbox(user)), sent=Message.objects.filter(sender=user), archive=[],
            trash=received(Thread.deleted(user)))


globals()[KIND]()
Path(EXPECTED).write_text(json.dumps({"people": people, "folders": folders, "messages": messages}))
