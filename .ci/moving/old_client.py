"""The old client of the app with the classic API goes on with the old passwords and ids. Usage: old_client.py EXPECTED"""

import json
import sys
from pathlib import Path

import test_requests as client

expected = json.loads(Path(sys.argv[1]).read_text())
count = 0
for number, person in expected["people"].items():
    if not (person["active"] and person["password"]):
        continue
    client.get_csrf_token()
    assert client.login(person["username"], person["password"])["user_id"] == int(number), person
    seen = expected["folders"][number]
    assert client.get_messages_id()["messages_id"] == seen["inbox"], person
    assert client.get_unread_messages_id()["messages_id"] == seen["unread"], person
    for message in seen["inbox"] + seen["sent"]:
        old, new = expected["messages"][str(message)], client.read_message(message)
        assert (new["sender_id"], new["receiver_id"]) == (old["from"], *old["to"]), (old, new)
        assert (new["subject"], new["body"]) == (old["subject"], old["body"]), (old, new)
        count += 1
    assert client.get_unread_messages_id()["messages_id"] == [], person
    client.logout()
print(f"the old client has read {count} messages by their old ids")
