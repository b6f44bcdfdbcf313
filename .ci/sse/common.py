"""What the Python clients share: the address, the token, and a place for what they receive."""

import json
import os
import sys
import time

URL = os.environ["URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
# Longer than the pause between two pings.
SILENCE = 40


def take(name, data):
    """Writes down a message, and ends the program with the last one."""
    if name == "message.created":
        message = json.loads(data)["message"]
        print(json.dumps([message["id"], message["snippet"]]), flush=True)
        if message["subject"] == "end":
            sys.exit()


def pause():
    time.sleep(1)
