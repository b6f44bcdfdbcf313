"""Two users log in at an identity provider and write to each other with the tokens that it issues;
then the provider signs with another key. Usage: drive.py BINARY FOLDER"""

import base64
import hashlib
import json
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests

BINARY, FOLDER = sys.argv[1], Path(sys.argv[2])
SERVER, ISSUER = "127.0.0.1:8491", "http://127.0.0.1:8492"
URL = f"http://{SERVER}/v1"
BACK = "https://shop.example/back"
processes = []


def start(command, folder, ready, environment=None):
    with open(FOLDER / "log", "a") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    processes.append(process)
    for _ in range(100):
        try:
            requests.get(ready).raise_for_status()
            return process
        except requests.RequestException:
            time.sleep(0.1)
    raise SystemExit(f"{command[0]} does not start: {(FOLDER / 'log').read_text()}")


def new_key(kid):
    return json.loads(subprocess.check_output(["node", FOLDER / "keys.js", kid]))


def start_provider(keys):
    (FOLDER / "keys.json").write_text(json.dumps(keys))
    command = ["node", str(FOLDER / "provider.js"), ISSUER, str(FOLDER / "keys.json")]
    return start(command, FOLDER, f"{ISSUER}/.well-known/openid-configuration")


def tokens_of(name):
    """Logs in as a browser does, and exchanges the code as the shop's server does."""
    browser = requests.Session()
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    query = {
        "client_id": "shop", "response_type": "code", "scope": "openid", "redirect_uri": BACK,
        "code_challenge": challenge.decode(), "code_challenge_method": "S256",
    }
    answer = browser.get(f"{ISSUER}/auth", params=query, allow_redirects=False)
    for _ in range(10):
        while answer.is_redirect and not answer.headers["location"].startswith(BACK):
            address = requests.compat.urljoin(answer.url, answer.headers["location"])
            answer = browser.get(address, allow_redirects=False)
        if answer.is_redirect:
            break
        action = re.search(r'<form[^>]* action="([^"]+)"', answer.text).group(1)
        prompt = re.search(r'name="prompt" value="(\w+)"', answer.text).group(1)
        form = {"prompt": prompt, "login": name, "password": "any"}
        answer = browser.post(requests.compat.urljoin(answer.url, action), data=form,
                              allow_redirects=False)
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK,
            "code_verifier": verifier}
    answer = requests.post(f"{ISSUER}/token", data=form, auth=("shop", "a secret of the shop"))
    answer.raise_for_status()
    return answer.json()


def call(method, path, token, **options):
    headers = {"Authorization": f"Bearer {token}"}
    return requests.request(method, URL + path, headers=headers, **options)


def expect(answer, status, code=None):
    if answer.status_code != status or code and answer.json()["code"] != code:
        raise SystemExit(f"{status} {code} expected: {answer.status_code} {answer.text}")
    return answer.json() if answer.content else None


old, new = new_key("old"), new_key("new")
try:
    provider = start_provider([old])
    settings = {
        "POSTROOM_LISTEN": SERVER, "POSTROOM_LOG": "debug", "POSTROOM_JWT_ISSUER": ISSUER,
        "POSTROOM_JWT_AUDIENCE": "postroom", "POSTROOM_JWT_ALLOW_HOSTS": "127.0.0.1",
    }
    start([BINARY], FOLDER / "server", f"http://{SERVER}/readyz", settings)
    ann, bob = tokens_of("ann@shop"), tokens_of("bob@shop")
    expect(call("GET", "/unread", bob["access_token"]), 200)
    draft = {"to": ["ext:bob@shop"], "subject": "Hello", "body": "From the shop."}
    sent = expect(call("POST", "/messages", ann["access_token"], json=draft), 201)
    inbox = expect(call("GET", "/messages", bob["access_token"]), 200)["data"]
    assert [message["id"] for message in inbox] == [sent["id"]], inbox
    assert inbox[0]["from"]["external_id"] == "ann@shop", inbox
    # An ID token is for the shop itself.
    expect(call("GET", "/unread", ann["id_token"]), 401, "token_invalid")
    print("two users of an identity provider wrote to each other with its tokens")

    provider.terminate()
    provider.wait()
    expect(call("GET", "/unread", ann["access_token"]), 200)
    start_provider([new, old])
    fresh = tokens_of("ann@shop")["access_token"]
    # The keys were fetched at the start, and are not fetched again within half a minute.
    end = time.monotonic() + 40
    while (answer := call("GET", "/messages?folder=sent", fresh)).status_code == 401:
        assert time.monotonic() < end, answer.text
        time.sleep(1)
    assert [message["id"] for message in expect(answer, 200)["data"]] == [sent["id"]]
    expect(call("GET", "/unread", ann["access_token"]), 200)
    print("and went on when it signed with another key")

    log = (FOLDER / "log").read_text()
    for token in [ann["access_token"], bob["access_token"], ann["id_token"], fresh]:
        assert token.split(".")[2] not in log, "a token is in the log"
finally:
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()
