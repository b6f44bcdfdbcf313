"""Two members of the shop, each in a browser of their own. Usage: drive.py BINARY FOLDER"""

import os
import sqlite3
import sys
import urllib.error
import urllib.request
from pathlib import Path

from browser import Process, browser, complaints, until, wait_for
from selenium.webdriver.common.by import By

ROOT = Path(__file__).parent.parent.parent.parent
BINARY, FOLDER = sys.argv[1], Path(sys.argv[2])
SHOP, MAIL = "127.0.0.1:8483", "127.0.0.1:8484"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "POSTROOM": BINARY,
    "DATA": str(FOLDER / "data"),
    "SHOP": SHOP,
    "MAIL": MAIL,
}


class Member:
    """A member with a page of the shop before them."""

    def __init__(self, driver, name):
        self.driver, self.name = driver, name
        self.go("/join")
        fields = {"first_name": name, "email": f"{name}@example.org", "username": name.lower()}
        self.submit("join", **fields, password1="seven-white-geese", password2="seven-white-geese")
        until(f"{name} is logged in", lambda: self.one("#logout"))

    def go(self, path):
        self.driver.get(f"http://{SHOP}{path}")

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.one(selector).text

    def submit(self, form, **fields):
        for name, value in fields.items():
            self.one(f"#{form} [name={name}]").send_keys(value)
        self.one(f"#{form} button").click()

    def follow(self, text):
        self.driver.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def has_badge(self, number):
        what = f"the badge of {self.name} is {number!r}"
        until(what, lambda: self.text("#badge") == number)

    def is_told(self, words, where=".said"):
        until(f"{self.name} is told: {words}", lambda: words in self.text(where))


def shop(ann, bea):
    ann.has_badge("1")
    ann.submit("offer", title="A bicycle", price="80")
    until("the offer is shown", lambda: "A bicycle" in ann.text("#offers"))
    until("the page is live", lambda: ann.one("body[data-live=live]"))

    bea.go("/")
    bea.follow("Write to them")
    bea.submit("write", body="Does it have <b>lights</b>?")
    bea.is_told("Your message was sent.")
    # Without loading the page again.
    ann.has_badge("2")

    ann.follow("Inbox")
    assert len(ann.driver.find_elements(By.CSS_SELECTOR, ".unread")) == 2
    ann.follow("Bea: A bicycle")
    ann.is_told("Does it have <b>lights</b>?", "#body")
    ann.has_badge("1")
    ann.submit("reply", body="Two of them.")
    ann.is_told("Your reply was sent.")

    bea.has_badge("2")
    bea.follow("Inbox")
    bea.follow("Ann: Re: A bicycle")
    bea.is_told("Two of them.", "#body")
    bea.is_told("Does it have <b>lights</b>?", ".earlier")

    ann.go("/inbox")
    ann.follow("The shop: Welcome")
    ann.is_told("Hello Ann", "#body")
    ann.submit("reply", body="Thank you!")
    ann.is_told("Nobody reads replies to this message.", "#reply")
    ann.has_badge("")

    ask = "fetch('/postroom/token').then((r) => r.json()).then(arguments[0])"
    ref = f"ext:{ann.driver.execute_async_script(ask)['user']['external_id']}"
    assert user(ref) == 200
    ann.one("#leave").click()
    ann.is_told("Your account and your mailbox are gone.")
    assert user(ref) in (404, 410), user(ref)
    assert "A bicycle" not in ann.text("#offers")
    bea.go("/inbox")
    bea.is_told("deleted user: Re: A bicycle", "#messages")


def user(ref):
    """The status of a question about a user, asked with the key that both programs share."""
    key = (FOLDER / "data/env").read_text().split("POSTROOM_SERVER_KEY=")[1].split()[0]
    request = urllib.request.Request(
        f"http://{MAIL}/v1/server/users/{ref}", headers={"Authorization": f"Bearer {key}"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


log = FOLDER / "log"
try:
    with Process([ROOT / "examples/django-shop/run"], log, ENVIRONMENT):
        until("the shop is open", lambda: wait_for(f"http://{SHOP}/") or True, 120)
        with browser() as one, browser() as other:
            try:
                shop(Member(one, "Ann"), Member(other, "Bea"))
            finally:
                complained = [line for driver in (one, other) for line in complaints(driver)]
                print(*complained, sep="\n", end="")
            assert complained == []
    database = sqlite3.connect(FOLDER / "data/postroom/postroom-data/postroom.db")
    count = "SELECT count(*), count(CASE WHEN password_hash <> '' THEN 1 END) FROM users"
    users, passwords = database.execute(count).fetchone()
    assert users >= 2 and passwords == 0, (users, passwords)
except BaseException:
    print(log.read_text())
    raise
print("the Django shop: joined, welcomed, wrote, read, replied, left; no password in Postroom")
