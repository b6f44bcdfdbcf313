"""Six clients follow one mailbox while its server is stopped, started, killed and started again.
Each must receive every message once, whole and in order. Usage: drive.py BINARY FOLDER"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import requests

HERE = Path(__file__).parent
BINARY, FOLDER = sys.argv[1], Path(sys.argv[2])
ADDRESS = "127.0.0.1:8479"
URL = f"http://{ADDRESS}/v1"
CLIENTS = {
    "httpx-sse": [sys.executable, HERE / "httpx_sse_client.py"],
    "sseclient-py": [sys.executable, HERE / "sseclient_py_client.py"],
    "requests-sse": [sys.executable, HERE / "requests_sse_client.py"],
    "npm eventsource": ["node", FOLDER / "js/eventsource.js"],
    "npm eventsource-client": ["node", FOLDER / "js/eventsource_client.js"],
    "crate eventsource-client": [FOLDER / "target/debug/sse-client"],
}
# What is cut or garbled by a client that reads lines or letters in another way.
TEXT = "No. {}: grün, 😀,\u0085 next\u2028line\u2029 \r\n\r\ndata: x"
PASSWORD = "seven-white-geese"


def start():
    settings = {
        "POSTROOM_LISTEN": ADDRESS,
        "POSTROOM_METRICS_LISTEN": "",
        "POSTROOM_RATE_LIMITS": "off",
        "POSTROOM_LOG": "warn",
    }
    with open(FOLDER / "server/log", "a") as log:
        server = subprocess.Popen(
            [BINARY], cwd=FOLDER / "server", env=settings, stdout=log, stderr=log
        )
    for _ in range(100):
        try:
            requests.get(f"http://{ADDRESS}/readyz").raise_for_status()
            return server
        except requests.RequestException:
            time.sleep(0.1)
    raise SystemExit("the server does not start")


def post(path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(URL + path, json=body, headers=headers)
    answer.raise_for_status()
    return answer.json()


def token_of(name):
    post("/users", {"username": name, "email": f"{name}@example.org", "password": PASSWORD})
    return post("/tokens", {"name": "ci", "username": name, "password": PASSWORD})["token"]


sent = []


def send(count, subject="go"):
    for _ in range(count):
        body = TEXT.format(len(sent))
        draft = {"to": ["bea"], "subject": subject, "body": body, "metadata": {body: body}}
        sent.append([post("/messages", draft, ann)["id"], body])


def received(name):
    whole_lines = (FOLDER / name).read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole_lines]


def wait_for_all():
    """Until every client has what was sent so far."""
    end = time.monotonic() + 30
    while not all(len(received(name)) >= len(sent) for name in CLIENTS):
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    for name in CLIENTS:
        missed = [message for message in sent if message not in received(name)]
        twice = len(received(name)) - len(sent) + len(missed)
        print(f"{name}: {len(sent)} sent, missed {len(missed)}, twice or garbled {twice}")
        if received(name) != sent:
            print((FOLDER / f"{name}.errors").read_text())
            raise SystemExit(f"{name} received {received(name)}")


server = start()
clients = []
try:
    ann, bea = token_of("ann"), token_of("bea")
    send(20)
    for name, command in CLIENTS.items():
        environment = {**os.environ, "URL": f"{URL}/events?fields=metadata", "TOKEN": bea}
        with open(FOLDER / name, "w") as out, open(FOLDER / f"{name}.errors", "w") as errors:
            clients.append(subprocess.Popen(command, env=environment, stdout=out, stderr=errors))
    wait_for_all()
    send(20)
    for how in [signal.SIGTERM, signal.SIGKILL]:
        server.send_signal(how)
        server.wait()
        time.sleep(1)
        server = start()
        send(20)
        wait_for_all()
    send(1, "end")
    wait_for_all()
    for client, name in zip(clients, CLIENTS):
        if client.wait(timeout=10):
            raise SystemExit(f"{name} ends with status {client.returncode}")
finally:
    for process in [server, *clients]:
        if process.poll() is None:
            process.kill()
            process.wait()
