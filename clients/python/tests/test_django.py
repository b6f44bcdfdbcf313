"""The users of a Django project and those of a real server."""

import io
import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import transaction
from django.template import Context, Template
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone
from standardwebhooks import Webhook

from postroom import Client, Problem, ext
from postroom.django import conf, for_user, forget_unread, ref_of, signals, unread_of
from postroom.server import WholeUser
from support import Breaking, Postroom, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def settings_of(server: Postroom) -> Iterator[None]:
    cache.clear()
    with override_settings(POSTROOM={"URL": server.url, "SERVER_KEY": server.key}):
        yield


def join(name: str, **fields: Any) -> User:
    """A new user, whose key no other test has: the server outlives the project's database."""
    return User.objects.create(pk=secrets.randbelow(2**40), username=name, **fields)


def known(client: Client, user: User) -> WholeUser:
    return client.server.get_user(ref_of(user))


def absent(client: Client, ref: str) -> str:
    with pytest.raises(Problem) as caught:
        client.server.get_user(ref)
    return caught.value.code


def test_users_are_kept_in_step(client: Client) -> None:
    ann = join("ann", first_name="Ann", last_name="Ape", email="ann@example.org")
    made = known(client, ann)
    assert (made.display_name, made.email, made.active) == ("Ann Ape", "ann@example.org", True)

    ann.last_name, ann.email = "Bee", ""
    ann.save()
    changed = known(client, ann)
    assert (changed.id, changed.display_name, changed.email) == (made.id, "Ann Bee", None)

    ann.is_active = False
    ann.save(update_fields=["is_active"])
    assert not known(client, ann).active
    ann.is_active = True
    ann.save()
    assert known(client, ann).active

    ref = ref_of(ann)
    ann.delete()
    assert absent(client, ref) in ("not_found", "user_unknown", "user_erased")


def test_what_is_rolled_back_never_happened(client: Client) -> None:
    ann = join("ann")

    def fail() -> None:
        with transaction.atomic():
            bea = join("bea")
            refs.append(ref_of(bea))
            ann.first_name = "Other"
            ann.save()
            ann.delete()
            raise ZeroDivisionError

    refs: list[str] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert known(client, User.objects.get()).display_name == "ann"
    assert absent(client, refs[0]) in ("not_found", "user_unknown")


def test_a_login_asks_the_server_nothing(server: Postroom) -> None:
    ann = join("ann")
    proxy = Breaking(server.address)
    with override_settings(POSTROOM={"URL": proxy.url, "SERVER_KEY": server.key}):
        Browser().force_login(ann)
        assert User.objects.get().last_login is not None
        assert proxy.requests == 0
        User.objects.get().save()
        assert proxy.requests == 1
    proxy.close()


def test_a_server_that_is_away_breaks_nothing(
    client: Client, server: Postroom, caplog: pytest.LogCaptureFixture
) -> None:
    gone = join("gone")
    away = {"URL": "http://127.0.0.1:9", "SERVER_KEY": server.key}
    with override_settings(POSTROOM=away):
        ann = join("ann")
        browser = Browser()
        browser.force_login(ann)
        assert browser.get("/page").content == b"0 0"
        assert browser.get("/postroom/token").status_code == 503
        browser.post("/logout")
        ref = ref_of(gone)
        gone.delete()
        with pytest.raises(CommandError):
            call_command("postroom_sync", stdout=io.StringIO())
    assert "was saved, and Postroom does not know" in caplog.text
    assert "was deleted, and Postroom still has them" in caplog.text
    assert server.key not in caplog.text
    assert User.objects.filter(username="ann").exists()
    assert absent(client, ref_of(ann)) in ("not_found", "user_unknown")

    said = io.StringIO()
    call_command("postroom_sync", "--erase", stdout=said)
    assert "created: 1" in said.getvalue()
    assert known(client, ann).active
    assert absent(client, ref) in ("not_found", "user_unknown", "user_erased")


def test_the_command_sends_those_who_differ(client: Client) -> None:
    start = secrets.randbelow(2**40)
    User.objects.bulk_create(
        User(pk=start + at, username=f"user{at}", first_name=f"User {at}") for at in range(1200)
    )
    User.objects.bulk_create([User(pk=start + 1200, username="odd", email="no address")])

    def sync(*options: str) -> str:
        said, errors = io.StringIO(), io.StringIO()
        try:
            call_command("postroom_sync", *options, stdout=said, stderr=errors)
        except CommandError as error:
            return f"{said.getvalue()}{errors.getvalue()}{error}"
        return said.getvalue() + errors.getvalue()

    assert "different: 1201" in sync("--dry-run")
    assert absent(client, ext(start)) in ("not_found", "user_unknown")
    said = sync()
    assert "created: 1200" in said
    assert f"{ext(start + 1200)}: #/" in said
    assert "1 users could not be sent" in said
    User.objects.filter(pk=start).update(first_name="New")
    User.objects.filter(pk=start + 1200).update(email="")
    again = sync("--batch-size", "100")
    assert "created: 1, in step: 1199" in again
    assert "updated: 1" in again
    assert client.server.get_user(ext(start)).display_name == "New"

    User.objects.filter(pk=start)._raw_delete("default")
    assert "--erase" in sync()
    assert client.server.get_user(ext(start)).active
    sync("--erase")
    assert absent(client, ext(start)) in ("not_found", "user_unknown", "user_erased")


def test_a_page_gets_a_token_of_its_user_until_the_logout(server: Postroom) -> None:
    browser = Browser()
    answer = browser.get("/postroom/token")
    assert (answer.status_code, answer.json()) == (401, {"code": "unauthenticated"})
    # Nobody told the server of them: the token does.
    User.objects.bulk_create([User(pk=secrets.randbelow(2**40), username="ann", first_name="Ann")])
    ann = User.objects.get()
    browser.force_login(ann)
    answer = browser.get("/postroom/token")
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    assert browser.post("/postroom/token").status_code == 405
    with Client(server.url, token=answer.json()["token"]) as page:
        assert (page.me().external_id, page.me().display_name) == (str(ann.pk), "Ann")
        other = Browser()
        other.force_login(ann)
        kept = other.get("/postroom/token").json()["token"]
        browser.post("/logout")
        with pytest.raises(Problem) as caught:
            page.me()
        assert caught.value.code == "token_revoked"
    with Client(server.url, token=kept) as page:
        assert page.me().display_name == "Ann"


def test_who_is_deactivated_gets_no_token(client: Client) -> None:
    gone = User.objects.create(username=secrets.token_hex(4), is_active=False)
    browser = Browser()
    with override_settings(
        AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    ):
        browser.force_login(gone)
        answer = browser.get("/postroom/token")
    assert (answer.status_code, answer.json()) == (401, {"code": "user_deactivated"})


def test_who_is_called_as_a_system_user_gets_no_token(client: Client) -> None:
    name = f"Shop {secrets.token_hex(4)}"
    client.server.put_user(ext(secrets.token_hex(4)), kind="system", display_name=name)
    browser = Browser()
    browser.force_login(join(secrets.token_hex(4), first_name=name.upper()))
    answer = browser.get("/postroom/token")
    assert (answer.status_code, answer.json()) == (401, {"code": "name_reserved"})


def test_unread_counts_are_one_call_and_cached(client: Client, server: Postroom) -> None:
    members = [join(f"member{at}") for at in range(5)]
    for at, member in enumerate(members):
        for _ in range(at):
            for_user(member).send(ref_of(member), body="To myself")
    proxy = Breaking(server.address)
    with override_settings(POSTROOM={"URL": proxy.url, "SERVER_KEY": server.key}):
        tag = "{% load postroom %}{% postroom_unread_of members as rows %}"
        each = "{% for member, unread in rows %}{{ member }}: {{ unread.messages }} {% endfor %}"
        page = Template(tag + each)
        for _ in range(2):
            shown = page.render(Context({"members": members}))
            assert shown == "".join(f"member{at}: {at} " for at in range(5))
        browser = Browser()
        browser.force_login(members[3])
        assert browser.get("/page").content == b"3 3"
        assert proxy.requests == 1

        for_user(members[3]).batch(filter={"unread": True}, marks={"read": True})
        forget_unread(members[3].pk)
        assert browser.get("/page").content == b"0 0"
        assert Browser().get("/page").content == b"0 0"
    proxy.close()


def test_webhooks_are_verified_and_come_once(server: Postroom) -> None:
    ann = join("ann")
    secret = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"
    received: list[Any] = []

    def receive(event: Any, **_: Any) -> None:
        if fails:
            fails.pop()
            raise ZeroDivisionError
        received.append(event)

    def deliver(secret: str, id: str) -> int:
        data = {"user": 1, "external_id": str(ann.pk), "messages": 1, "conversations": 1}
        event = {"type": "unread.changed", "timestamp": "2026-11-22T08:00:00Z", "data": data}
        body, now = json.dumps(event), timezone.now()
        signed = {
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(id, now, body),
        }
        browser = Browser(headers=signed, raise_request_exception=False)
        return browser.post("/postroom/webhook", body, content_type="application/json").status_code

    fails: list[bool] = []
    signals.event.connect(receive)
    try:
        assert deliver(secret, "evt_1") == 404
        configured = {"URL": server.url, "SERVER_KEY": server.key, "WEBHOOK_SECRET": secret}
        with override_settings(POSTROOM=configured):
            assert unread_of([ann])[ann.pk].messages == 0
            for_user(ann).send(ref_of(ann), body="To myself")
            assert unread_of([ann])[ann.pk].messages == 0
            assert deliver("whsec_" + "WFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhY", "evt_1") == 400
            assert unread_of([ann])[ann.pk].messages == 0
            assert deliver(secret, "evt_1") == 204
            assert unread_of([ann])[ann.pk].messages == 1
            assert deliver(secret, "evt_1") == 204
            assert [event.id for event in received] == ["evt_1"]
            fails.append(True)
            assert deliver(secret, "evt_2") == 500
            assert deliver(secret, "evt_2") == 204
            assert [event.id for event in received] == ["evt_1", "evt_2"]
    finally:
        signals.event.disconnect(receive)


def other_fields(user: User) -> dict[str, Any]:
    return {"display_name": f"Member {user.pk}"}


def test_settings_are_checked_and_can_be_changed(
    client: Client, server: Postroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert conf.problems() == []
    own = {
        "URL": server.url,
        "SERVER_KEY": server.key,
        "USER_FIELDS": "test_django.other_fields",
        "MESSAGES_OF_DELETED": "withdraw",
    }
    with override_settings(POSTROOM=own):
        ann, bea = join("ann"), join("bea")
        assert known(client, ann).display_name == f"Member {ann.pk}"
        for_user(ann).send(ref_of(bea), body="Not for long")
        assert for_user(bea).unread().messages == 1
        ann.delete()
        # Mailboxes are emptied in the background.
        until(lambda: for_user(bea).unread().messages == 0, "it is withdrawn")
    with override_settings(POSTROOM={"URI": "x"}):
        assert ["'URI'" in str(problem) for problem in conf.problems()] == [True]
    with override_settings(POSTROOM={"USER_FIELDS": "no.such"}):
        assert [problem.id for problem in conf.problems()] == ["postroom.E001"]
    with override_settings(POSTROOM={"URL": server.url}):
        assert [problem.id for problem in conf.problems()] == ["postroom.E002"]
    monkeypatch.setenv("POSTROOM_URL", server.url)
    monkeypatch.setenv("POSTROOM_SERVER_KEY", server.key)
    with override_settings(POSTROOM={}):
        assert conf.problems() == []
        assert conf.settings().url == server.url


def test_without_a_server_all_of_it_is_off(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(POSTROOM={}):
        assert [problem.id for problem in conf.problems()] == ["postroom.W001"]
        ann = join("ann")
        browser = Browser()
        browser.force_login(ann)
        assert browser.get("/page").content == b"0 0"
        assert browser.get("/postroom/token").status_code == 503
        browser.post("/logout")
        ann.delete()
        with pytest.raises(CommandError, match="no URL"):
            call_command("postroom_sync")
    assert [record for record in caplog.records if record.name == "postroom"] == []
