"""Moves the database of an app into a new server, and asks everybody who was in it what they see. Usage:
drive.py BINARY FOLDER PORT PATH|URL EXPECTED"""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import requests

BINARY, FOLDER, PORT, SOURCE, EXPECTED = sys.argv[1:]
URL = f"http://127.0.0.1:{PORT}"
expected = json.loads(Path(EXPECTED).read_text())
environment = {"PATH": os.environ["PATH"], "POSTROOM_LISTEN": f"127.0.0.1:{PORT}", "POSTROOM_RATE_LIMITS": "off"}


def postroom(*arguments):
    done = subprocess.run([BINARY, *arguments], cwd=FOLDER, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done
    return done.stdout


def expect(found, wanted, what):
    if found != wanted:
        raise SystemExit(f"{SOURCE}: {what}: expected {wanted}, found {found}")


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def call(token, method, path, **options):
    answer = requests.request(method, URL + path, headers={"Authorization": f"Bearer {token}"}, **options)
    answer.raise_for_status()
    return answer.json()


def sign_in(person):
    body = {"username": person["username"], "password": person["password"] or "none", "name": "moved"}
    return requests.post(f"{URL}/v1/tokens", json=body)


def look(number, person):
    """Everything that somebody sees is what they saw."""
    token = sign_in(person)
    expect(token.status_code, 201, f"signing in as {person['username']}")
    token = token.json()["token"]
    me = call(token, "GET", "/v1/users/me")
    expect((me["id"], me["username"]), (number, person["username"]), "who it is")
    expect(instant(me["created_at"]), instant(person["joined"]), "since when")
    seen = expected["folders"].get(str(number))
    if not seen:
        return
    for folder in ("inbox", "sent", "archive", "trash"):
        page = call(token, "GET", "/v1/messages", params={"folder": folder, "limit": 100, "fields": "full"})["data"]
        expect(sorted(item["id"] for item in page), seen[folder], f"{folder} of {person['username']}")
        for item in page:
            wanted = expected["messages"][str(item["id"])]
            found = {key: item[key] for key in ("subject", "body")}
            expect(found, {key: wanted[key] for key in found}, "the text")
            expect(instant(item["sent_at"]), instant(wanted["sent_at"]), "the date")
            expect(item["from"]["id"], wanted["from"], "the sender")
            if wanted["read_at"] and number in wanted["to"]:
                expect(instant(item["read_at"]), instant(wanted["read_at"]), "since when it is read")
            expect(sorted(to["id"] for to in item["to"]), wanted["to"], "the recipients")
            expect(item["conversation_id"] or item["id"], wanted["root"], f"the thread of {item['id']}")
    page = call(token, "GET", "/v1/messages", params={"folder": "inbox", "unread": "true", "limit": 100})["data"]
    expect(sorted(item["id"] for item in page), seen["unread"], f"what is unread of {person['username']}")


Path(FOLDER).mkdir()
said = postroom("import", "django", SOURCE, "--yes")
expect(f"{len(expected['messages'])} come" in said, True, f"the plan: {said}")
expect("whole and consistent" in postroom("check"), True, "the check")
with open(f"{FOLDER}/log", "w") as log:
    server = subprocess.Popen([BINARY], cwd=FOLDER, env=environment, stdout=log, stderr=log)
try:
    for _ in range(100):
        try:
            requests.get(f"{URL}/readyz").raise_for_status()
            break
        except requests.RequestException:
            time.sleep(0.1)
    for number, person in expected["people"].items():
        if person["active"] and person["password"]:
            look(int(number), person)
        else:
            expect(sign_in(person).status_code, 401, f"signing in as {person['username']}")
finally:
    server.terminate()
    server.wait()
expect("whole and consistent" in postroom("check"), True, "the check afterwards")
rows = [json.loads(line)["code"] for line in said.splitlines() if line.startswith("{")]
print(f"{SOURCE}: {len(expected['people'])} users, {len(expected['messages'])} messages; told {rows}")
