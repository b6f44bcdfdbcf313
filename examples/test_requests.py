#!/usr/bin/env python3
"""A client of the classic API, and a script that tests all of its calls.

As a module: the functions `get_csrf_token`, `register`, `login`, `write_message`, ... act for one user on the server
that POSTROOM_URL names (http://127.0.0.1:8000 by default). For several users at once, create a `Client` for each; its
methods have the same names.

    >>> import test_requests as postroom
    >>> postroom.get_csrf_token()
    >>> postroom.login("ann", "correct horse battery staple")
    >>> postroom.get_unread_messages_id()
    {'messages_id': [7]}

As a script: `python3 test_requests.py [URL]` runs the test and prints a line for each step. The exit status is 0 if
all steps succeed, and 1 otherwise.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import contextmanager
from typing import Any, Callable, Iterator
from urllib.parse import urlsplit

import requests

DEFAULT_URL = "http://127.0.0.1:8000"
SECONDS_TO_WAIT = 30


class ApiError(Exception):
    """A response that is not a success: its `status`, and the server's message in `error`."""

    def __init__(self, call: str, status: int, error: str) -> None:
        super().__init__(f"{call}: {status} {error}")
        self.status = status
        self.error = error


class Client:
    """One user's cookies and CSRF token, which are kept from call to call.

    Every call returns the parsed JSON object of a 2xx response. It raises `ApiError` for any other response, and
    `requests.RequestException` if there is none. Ids may be integers or decimal strings.
    """

    def __init__(self, base_url: str | None = None) -> None:
        """Uses the server `base_url`, or else POSTROOM_URL, or else port 8000 of this machine."""
        self.base_url = (base_url or os.environ.get("POSTROOM_URL") or DEFAULT_URL).rstrip("/")
        self.session = requests.Session()
        if urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1"):
            self.session.trust_env = False  # a proxy cannot reach this machine

    def get_csrf_token(self) -> dict[str, Any]:
        """Fetches a CSRF token, which is then sent with every call: `{"csrfToken": ...}`.

        Once is enough: the token stays valid through login and logout.
        """
        answer = self._call("GET", "/users/token")
        self.use_csrf_token(answer["csrfToken"])
        return answer

    def use_csrf_token(self, token: str) -> None:
        """Stores a CSRF token in the cookies and in the headers; the server compares the two."""
        self.session.cookies.set("csrftoken", token)
        self.session.headers["X-CSRFToken"] = token

    def register(self, username: str, email: str, password: str) -> dict[str, Any]:
        """Creates an account: `{"status": "success", "user_id": ...}`. Does not log in."""
        body = {"username": username, "email": email, "password": password}
        return self._call("POST", "/users/register", body)

    def login(self, username: str, password: str) -> dict[str, Any]:
        """Starts a session: `{"status": "success", "user_id": ...}`."""
        return self._call("POST", "/users/login", {"username": username, "password": password})

    def logout(self) -> dict[str, Any]:
        """Ends the session on the server, and removes its cookie."""
        return self._call("POST", "/users/logout")

    def write_message(self, receiver_id: int | str, subject: str, body: str) -> dict[str, Any]:
        """Sends a message to a user: `{"message_id": ...}`."""
        message = {"receiver_id": receiver_id, "subject": subject, "body": body}
        return self._call("POST", "/messages/write_message", message)

    def get_messages_id(self) -> dict[str, Any]:
        """The ids of all messages received and not deleted, ascending: `{"messages_id": [...]}`."""
        return self._call("GET", "/messages/messages_per_receiver")

    def get_unread_messages_id(self) -> dict[str, Any]:
        """The same for unread messages."""
        return self._call("GET", "/messages/unread_per_receiver")

    def read_message(self, message_id: int | str) -> dict[str, Any]:
        """A message that the user received or sent. Reading a received one marks it as read.

        The fields are message_id, sender_id, receiver_id, subject, body and creation_date.
        """
        return self._call("GET", "/messages/read_message", {"message_id": message_id})

    def delete_message(self, message_id: int | str) -> dict[str, Any]:
        """Deletes a received message from the user's own mailbox; withdraws a sent one from both mailboxes."""
        return self._call("DELETE", "/messages/delete_message", {"message_id": message_id})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Sends a request, with a JSON body for any method."""
        # The API has no redirects, and the cookies must not go to another server.
        url = self.base_url + path
        response = self.session.request(method, url, json=body, timeout=SECONDS_TO_WAIT, allow_redirects=False)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        call = f"{method} {path}"
        if not 200 <= response.status_code < 300:
            error = answer.get("error") if isinstance(answer, dict) else None
            raise ApiError(call, response.status_code, error or response.reason or "no reason given")
        if not isinstance(answer, dict):
            raise ApiError(call, response.status_code, "the response is not a JSON object")
        return answer


# The client that the functions of the module use.
client = Client()


def get_csrf_token() -> dict[str, Any]:
    """See `Client.get_csrf_token`."""
    return client.get_csrf_token()


def register(username: str, email: str, password: str) -> dict[str, Any]:
    """See `Client.register`."""
    return client.register(username, email, password)


def login(username: str, password: str) -> dict[str, Any]:
    """See `Client.login`."""
    return client.login(username, password)


def logout() -> dict[str, Any]:
    """See `Client.logout`."""
    return client.logout()


def write_message(receiver_id: int | str, subject: str, body: str) -> dict[str, Any]:
    """See `Client.write_message`."""
    return client.write_message(receiver_id, subject, body)


def get_messages_id() -> dict[str, Any]:
    """See `Client.get_messages_id`."""
    return client.get_messages_id()


def get_unread_messages_id() -> dict[str, Any]:
    """See `Client.get_unread_messages_id`."""
    return client.get_unread_messages_id()


def read_message(message_id: int | str) -> dict[str, Any]:
    """See `Client.read_message`."""
    return client.read_message(message_id)


def delete_message(message_id: int | str) -> dict[str, Any]:
    """See `Client.delete_message`."""
    return client.delete_message(message_id)


class Person:
    """A new user for the test, with a random name and password."""

    def __init__(self, name: str) -> None:
        self.username = f"{name}_{secrets.token_hex(6)}"
        self.email = f"{self.username}@example.com"
        self.password = secrets.token_urlsafe(18)
        self.id = 0


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the title when the step is done. A failure ends the script with status 1."""
    try:
        yield
    except Exception as problem:
        print(f"FAILED  {title}\n        {type(problem).__name__}: {problem}", file=sys.stderr)
        raise SystemExit(1) from None
    print(f"ok      {title}", flush=True)


def expect_equal(found: Any, expected: Any, what: str) -> None:
    """Fails if `found` is not `expected`; `what` names the value."""
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def expect_refused(status: int, call: Callable[..., Any], *arguments: Any) -> str:
    """Fails if the call is not refused with `status`. Returns the server's message."""
    try:
        answer = call(*arguments)
    except ApiError as refusal:
        expect_equal(refusal.status, status, f"the status ({refusal})")
        return refusal.error
    raise AssertionError(f"expected a refusal with {status}, got success: {answer!r}")


def expect_lists(of: Any, everything: list[int], unread: list[int]) -> None:
    """Fails if the lists of a client (or of this module) are not these."""
    expect_equal(of.get_messages_id(), {"messages_id": everything}, "all messages received")
    expect_equal(of.get_unread_messages_id(), {"messages_id": unread}, "unread messages")


def run_steps() -> None:
    """Ann receives, using the functions of this module; Bob sends; Eve must not get at their messages."""
    ann, bob, eve = Person("ann"), Person("bob"), Person("eve")
    ann_client = sys.modules[__name__]
    bob_client, eve_client = Client(client.base_url), Client(client.base_url)

    with step("a CSRF token comes without a login, also as a cookie"):
        token = get_csrf_token()["csrfToken"]
        bob_client.get_csrf_token()
        eve_client.get_csrf_token()
        sent = [cookie.value for cookie in client.session.cookies if cookie.name == "csrftoken" and cookie.domain]
        expect_equal(sent, [token], "the csrftoken cookies that the server set")

    with step("nobody can register without a valid CSRF token"):
        for bad in bad_tokens(client):
            with bad:
                expect_refused(403, register, ann.username, ann.email, ann.password)

    with step("three users register; the name was not taken by the refused attempt"):
        ann.id = register(ann.username, ann.email, ann.password)["user_id"]
        bob.id = bob_client.register(bob.username, bob.email, bob.password)["user_id"]
        eve.id = eve_client.register(eve.username, eve.email, eve.password)["user_id"]
        expect_equal(len({ann.id, bob.id, eve.id}), 3, "different ids")

    with step("a name is taken whatever its case, and a weak password or a missing field is refused"):
        expect_refused(400, register, ann.username.upper(), ann.email, ann.password)
        expect_refused(400, register, Person("weak").username, ann.email, "password")
        expect_refused(400, register, "", ann.email, ann.password)

    with step("without a login all calls are refused"):
        expect_all_refused(401, bob_client)

    with step("a wrong password and an unknown name get the same 401"):
        wrong = expect_refused(401, login, ann.username, bob.password)
        unknown = expect_refused(401, login, Person("nobody").username, bob.password)
        expect_equal(unknown, wrong, "the error for an unknown name")
        expect_all_refused(401, client)

    with step("all three log in, with the CSRF token from before"):
        expect_equal(login(ann.username, ann.password), {"status": "success", "user_id": ann.id}, "the response")
        expect_equal(bob_client.login(bob.username, bob.password)["user_id"], bob.id, "Bob's id")
        expect_equal(eve_client.login(eve.username, eve.password)["user_id"], eve.id, "Eve's id")
        expect_lists(ann_client, [], [])

    subject = "Καλημέρα, Ann \U0001f4ee"
    body = "  First line\r\n\tsecond: 'quotes\", <tags> & \\ \u00e9e\u0301\n\n"
    with step("Bob writes to Ann, with the CSRF token from before the login"):
        first = bob_client.write_message(ann.id, subject, body)["message_id"]

    with step("it is in both of Ann's lists and in none of Bob's"):
        expect_lists(ann_client, [first], [first])
        expect_lists(bob_client, [], [])

    with step("Bob reads the message that was sent; it stays unread for Ann"):
        expect_message(bob_client.read_message(first), first, bob, ann, subject, body)
        expect_lists(ann_client, [first], [first])

    with step("Ann reads exactly what was sent; it is no longer unread"):
        expect_message(read_message(first), first, bob, ann, subject, body)
        expect_lists(ann_client, [first], [])

    with step("ids may be decimal strings: Ann answers, Bob reads"):
        answer = write_message(str(bob.id), "Re: " + subject, "Thank you")["message_id"]
        expect_message(bob_client.read_message(str(answer)), answer, ann, bob, "Re: " + subject, "Thank you")
        expect_lists(bob_client, [answer], [])

    with step("a wrong CSRF token gets 403 and changes nothing"):
        for bad in bad_tokens(bob_client):
            with bad:
                expect_refused(403, bob_client.write_message, ann.id, subject, body)
                expect_refused(403, bob_client.delete_message, first)
                expect_refused(403, bob_client.logout)
        expect_lists(ann_client, [first], [])
        expect_lists(bob_client, [answer], [])

    with step("Eve gets the same 404 for messages of others and for ones that do not exist"):
        nowhere = 2**53 - 1
        for call in (eve_client.read_message, eve_client.delete_message):
            expect_equal(expect_refused(404, call, first), expect_refused(404, call, nowhere), "the error")
        expect_lists(eve_client, [], [])
        expect_lists(ann_client, [first], [])

    with step("a message to an unknown user or to no user is refused"):
        expect_refused(404, eve_client.write_message, nowhere, subject, body)
        expect_refused(400, eve_client.write_message, "", subject, body)

    with step("Ann deletes it: it is gone for Ann, and Bob can still read it"):
        expect_equal(delete_message(first), {"status": "success"}, "the response")
        expect_lists(ann_client, [], [])
        expect_refused(404, read_message, first)
        expect_refused(404, delete_message, first)
        expect_message(bob_client.read_message(first), first, bob, ann, subject, body)

    with step("Bob writes two more and Ann reads the later one; the earlier, withdrawn by Bob, is gone for both"):
        second = bob_client.write_message(ann.id, "Second", "Not for long")["message_id"]
        third = bob_client.write_message(ann.id, "Third", "To stay")["message_id"]
        expect_lists(ann_client, sorted([second, third]), sorted([second, third]))
        expect_message(read_message(third), third, bob, ann, "Third", "To stay")
        expect_lists(ann_client, sorted([second, third]), [second])
        expect_equal(bob_client.delete_message(second), {"status": "success"}, "the response")
        expect_lists(ann_client, [third], [])
        for call in (read_message, delete_message, bob_client.read_message, bob_client.delete_message):
            expect_refused(404, call, second)

    with step("after the logout all calls are refused, also with the old session cookie"):
        old = client.session.cookies.get("sessionid") or ""
        expect_equal(bool(old), True, "a sessionid cookie since the login")
        expect_equal(logout(), {"status": "success"}, "the response")
        expect_all_refused(401, client)
        client.session.cookies.set("sessionid", old)
        expect_all_refused(401, client)

    with step("Bob is still logged in; Ann logs in again, with the CSRF token from the start"):
        expect_lists(bob_client, [answer], [])
        client.session.cookies.clear()
        client.use_csrf_token(token)
        login(ann.username, ann.password)
        expect_message(read_message(answer), answer, ann, bob, "Re: " + subject, "Thank you")


def bad_tokens(of: Client) -> Iterator[Any]:
    """Invalid CSRF tokens, each for the duration of its `with`: a header that differs from the cookie, a pair that
    the server never issued, and no header."""

    @contextmanager
    def instead(spoil: Callable[[], Any]) -> Iterator[None]:
        good = str(of.session.headers["X-CSRFToken"])
        spoil()
        try:
            yield
        finally:
            of.use_csrf_token(good)

    forged = secrets.token_urlsafe(32)
    yield instead(lambda: of.session.headers.update({"X-CSRFToken": forged}))
    yield instead(lambda: of.use_csrf_token(forged))
    yield instead(lambda: of.session.headers.pop("X-CSRFToken"))


def expect_all_refused(status: int, of: Client) -> None:
    """Fails if a call that needs a login is not refused."""
    expect_refused(status, of.get_messages_id)
    expect_refused(status, of.get_unread_messages_id)
    expect_refused(status, of.read_message, 1)
    expect_refused(status, of.delete_message, 1)
    expect_refused(status, of.write_message, 1, "subject", "body")
    expect_refused(status, of.logout)


def expect_message(
    found: dict[str, Any], message_id: int, sender: Person, recipient: Person, subject: str, body: str
) -> None:
    """Fails if a message does not have exactly these fields and a creation date in UTC."""
    fields = dict(found)
    written = str(fields.pop("creation_date", None))
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", written):
        raise AssertionError(f"creation_date is not RFC 3339 in UTC: {written!r}")
    expected = {
        "message_id": message_id,
        "sender_id": sender.id,
        "receiver_id": recipient.id,
        "subject": subject,
        "body": body,
    }
    expect_equal(fields, expected, "the message")


def main(arguments: list[str]) -> int:
    """Runs the test on the server that the argument or POSTROOM_URL names."""
    global client
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print("usage: test_requests.py [URL]", file=sys.stderr)
        return 2
    client = Client(*arguments)
    print(f"The classic API of {client.base_url}")
    run_steps()
    print("All steps succeeded.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
