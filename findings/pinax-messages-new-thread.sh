#!/usr/bin/env bash
# pinax-messages 3.0.0 (PyPI pinax-messages) on Django 3.2.25.
#
# Somebody begins a thread by `Message.new_message`, and nothing else happens. One expects the thread
# to be theirs like that of the recipient, who has `deleted` false. Seen: the sender's own
# `UserThread` has `deleted` true, and it becomes false only when somebody answers. So `deleted` does
# not say that a user has deleted something: who takes these rows over and believes it loses every
# letter without an answer from its sender's mailbox.
# Fails when that changes. Needs Python 3 with venv.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet Django==3.2.25 pinax-messages==3.0.0 django-appconf==1.0.6 setuptools==80.9.0
cat >look.py <<'PY'
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sites", "pinax.messages"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    SITE_ID=1,
)
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command

call_command("migrate", verbosity=0)
from pinax.messages.models import Message, UserThread

ann, ben = (User.objects.create(username=name) for name in ("ann", "ben"))


def deleted(thread):
    rows = UserThread.objects.filter(thread=thread)
    return {row.user.username: row.deleted for row in rows}


thread = Message.new_message(ann, [ben], "Hello", "A letter").thread
begun = deleted(thread)
Message.new_reply(thread, ben, "An answer")
answered = deleted(thread)
print("begun by ann:", begun)
print("answered by ben:", answered)
assert begun == {"ann": True, "ben": False}, "it has changed"
assert answered["ann"] is False, "it has changed"
PY
venv/bin/python -W ignore look.py
