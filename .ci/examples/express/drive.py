"""Members of the club write to each other, in as many tabs as they like. Usage: drive.py BINARY APP"""

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from browser import Process, browser, complaints, until, wait_for
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

BINARY, APP = sys.argv[1], Path(sys.argv[2])
CLUB, POSTROOM, METRICS = "http://localhost:8481", "http://127.0.0.1:8482", "http://127.0.0.1:8485"
LOG = APP / "log"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("POSTROOM_")},
    "POSTROOM": BINARY,
    "PORT": "8481",
    "POSTROOM_LISTEN": "127.0.0.1:8482",
    "POSTROOM_METRICS_LISTEN": "127.0.0.1:8485",
    # So short that the test sees tokens renewed.
    "TOKEN_SECONDS": "60",
}


class Member:
    """Somebody at a browser of their own."""

    def __init__(self, driver):
        self.driver = driver
        driver.get(CLUB)
        self.tabs = [driver.current_window_handle]

    def open(self):
        self.driver.switch_to.new_window("tab")
        self.driver.get(CLUB)
        self.tabs.append(self.driver.current_window_handle)

    def at(self, tab):
        self.driver.switch_to.window(self.tabs[tab])

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return self.find(selector).text

    def run(self, script):
        return self.driver.execute_script(script)

    def enter(self, form, button, **fields):
        """Fills in a form and sends it."""
        until(f"there is {form}", lambda: self.find(form).is_displayed())
        for name, text in fields.items():
            field = self.find(f"{form} [name={name}]")
            if field.tag_name == "select":
                Select(field).select_by_visible_text(text)
            else:
                field.clear()
                field.send_keys(text)
        self.find(f"{form} {button}").click()

    def enters(self, button, name):
        self.enter("#sign-in", f"[value={button}]", name=name, password=f"password of {name}")
        self.is_live()

    def writes(self, to, subject):
        self.driver.refresh()  # Members who have joined since are in the list.
        self.is_live()
        self.enter("#write", "button", to=to, subject=subject, body=f"The text of {subject}")
        until("it is sent", lambda: self.find("#write [name=body]").get_property("value") == "")
        assert self.text("#error") == "", self.text("#error")

    def is_live(self):
        until("the page is live", lambda: self.text("#status") == "live")

    def shows(self, *letters):
        """Waits until each tab shows these letters, the newest first."""
        for tab in range(len(self.tabs)):
            self.at(tab)
            rows = lambda: [row.text for row in self.driver.find_elements(By.CSS_SELECTOR, "#letters li")]
            until(f"tab {tab} shows {letters}", lambda: rows() == list(letters))
            self.is_live()

    def has_ended(self, tabs, reason):
        """Waits until each of the tabs has ended for that reason, and asserts that nothing is left."""
        for tab in tabs:
            self.at(tab)
            until(f"tab {tab} has ended", lambda: self.text("#status") == f"ended: {reason}")
            assert "Lunch" not in self.driver.page_source

    def asked(self):
        """How often the tabs have asked the club for a token."""
        count = """return performance.getEntriesByType("resource")
            .filter(({ name }) => name.endsWith("/postroom-token")).length"""
        number = 0
        for tab in range(len(self.tabs)):
            self.at(tab)
            number += self.run(count)
        return number


def streams():
    with urllib.request.urlopen(f"{METRICS}/metrics") as response:
        return int(re.search(r"^postroom_streams (\d+)", response.read().decode(), re.MULTILINE)[1])


def use(ann, bob):
    ann.enters("join", "Ann")
    bob.enters("join", "Bob")
    while len(ann.tabs) < 9:
        ann.open()
    ann.shows()
    assert ann.asked() == 9, "each tab asks whose it is"
    until("nine tabs have one stream", lambda: streams() == 2)

    bob.writes("Ann", "Lunch")
    ann.shows("Bob: Lunch")
    for tab in range(9):
        ann.at(tab)
        assert ann.text("#badge") == "1"
    ann.find("#letters button").click()
    until("it is open", lambda: ann.text("#body") == "The text of Lunch")
    for tab in range(9):
        ann.at(tab)
        until("it is read in all tabs", lambda: not ann.find("#badge").is_displayed())

    # One tab asks for all, 30 seconds before the tokens of 60 seconds end.
    until("the token is renewed", lambda: ann.asked() == 10, 60)
    bob.writes("Ann", "Dinner")
    ann.shows("Bob: Dinner", "Bob: Lunch")
    assert ann.asked() == 10, "all tabs use the token that one of them has got"
    until("nine tabs have one stream", lambda: streams() == 2)

    # A new name reaches Postroom by the club's server.
    ann.enter("#rename", "button", name="Anna")
    ann.writes("Bob", "Gladly")
    bob.shows("Anna: Gladly")

    # Who signs out is gone from all tabs, and the next one in this browser sees their own.
    ann.at(0)
    ann.find("#sign-out").click()
    until("the form is there", lambda: ann.find("#sign-in").is_displayed())
    ann.has_ended(range(1, 9), "signed_out")
    ann.at(0)
    ann.enters("join", "Cleo")
    assert ann.text("#letters") == ""
    # Cleo leaves without signing out, and Anna signs in at another tab.
    ann.at(1)
    ann.run("""const body = JSON.stringify({ name: "Anna", password: "password of Ann" });
        const headers = { "Content-Type": "application/json" };
        return fetch("/sign-in", { method: "POST", headers, body }).then(() => null);""")
    ann.driver.refresh()
    ann.is_live()
    ann.has_ended([0], "another_user")
    ann.at(1)
    until("Anna has her letters", lambda: "Bob: Dinner" in ann.text("#letters"))
    for member in (ann, bob):
        found = complaints(member.driver)
        assert found == [], found


with Process([str(APP / "run")], LOG, ENVIRONMENT):
    try:
        wait_for(f"{POSTROOM}/readyz")
        wait_for(f"{CLUB}/me")
        with browser() as first, browser() as second:
            use(Member(first), Member(second))
    except BaseException:
        print(LOG.read_text())
        raise
settings = dict(re.findall(r"^(POSTROOM_\w+)=(.*)$", (APP / ".env").read_text(), re.MULTILINE))
assert settings["POSTROOM_SERVER_KEY"] not in LOG.read_text()
environment = {"PATH": os.environ["PATH"], "POSTROOM_DATA_DIR": settings["POSTROOM_DATA_DIR"]}
subprocess.run([BINARY, "check"], env=environment, cwd=APP, check=True)
print("the club: three members, nine tabs, one stream and one renewal")
