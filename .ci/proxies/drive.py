"""Drives Postroom through a proxy, as its users would. Usage: drive.py NAME METRICS_PORT HTTPS_PORT HTTP_PORT"""

import http.client
import json
import socket
import ssl
import sys
import time
import urllib.request

NAME, METRICS, HTTPS, HTTP = sys.argv[1], *map(int, sys.argv[2:])
HOST = "mail.example.org"
# The client has another address than the proxy, which Postroom trusts.
CLIENT = ("127.0.0.2", 0)
PASSWORD = "seven-white-geese"
TLS = ssl._create_unverified_context()


def connect():
    """A new connection to the proxy by TLS."""
    plain = socket.create_connection(("127.0.0.1", HTTPS), timeout=20, source_address=CLIENT)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return TLS.wrap_socket(plain, server_hostname=HOST)


def call(method, path, body=None, headers=None, on=None):
    """Makes a call, which sends everything before it reads; the status, the headers and the body of the answer."""
    connection = on or http.client.HTTPSConnection(HOST, HTTPS)
    if not connection.sock:
        connection.sock = connect()
    data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
    # What a client writes of its own address must not count.
    headers = {"X-Forwarded-For": "192.0.2.66", "Content-Type": "application/json", **(headers or {})}
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    content = answer.read()
    if not on:
        connection.close()
    return answer.status, answer.headers, content


def until(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not in {seconds} s: {what}"
        time.sleep(0.05)


def is_up():
    try:
        return call("GET", "/readyz")[0] == 200
    except OSError:
        return False
    except http.client.HTTPException:
        return False


def streams():
    metrics = urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics").read().decode()
    return int(metrics.split("\npostroom_streams ")[1].split()[0])


def listen(bearer):
    """A stream of events, after its first one."""
    if NAME == "haproxy":
        stream = http.client.HTTPConnection("127.0.0.1", HTTP, source_address=CLIENT)
    else:
        stream = http.client.HTTPSConnection(HOST, HTTPS)
        stream.sock = connect()
    stream.request("GET", "/v1/events", headers=bearer)
    answer = stream.getresponse()
    assert answer.status == 200, answer.status
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    read_until(answer, b"event: unread")
    return stream, answer


def read_until(answer, line):
    while not answer.readline().startswith(line):
        pass


until("the proxy serves", is_up, 60)

# Plain HTTP is only told where to go; metrics are not for everybody, and nothing is for another host. Envoy has no listener for plain HTTP.
if NAME != "envoy":
    plain = http.client.HTTPConnection("127.0.0.1", HTTP)
    plain.request("GET", "/healthz", headers={"Host": HOST})
    moved = plain.getresponse()
    assert moved.status in (301, 302, 307, 308) and moved.headers["Location"].startswith("https://"), moved.status
assert call("GET", "/metrics")[0] == 404
if NAME in ("nginx", "haproxy", "envoy"):
    assert call("GET", "/v1/csrf", headers={"Host": "evil.example"})[0] == 421

# A login: the cookie is Secure, and the session is from the client's address.
account = {"username": "ann", "email": "ann@example.org", "password": PASSWORD}
assert call("POST", "/v1/users", account)[0] == 201
status, headers, content = call("GET", "/users/token")
csrf = json.loads(content)["csrfToken"]
credentials = {"username": "ann", "password": PASSWORD}
login = {"X-CSRFToken": csrf, "Cookie": f"csrftoken={csrf}"}
status, headers, _ = call("POST", "/users/login", credentials, login)
assert status == 200, status
cookie = next(one for one in headers.get_all("Set-Cookie") if one.startswith("sessionid="))
assert "secure" in cookie.lower(), cookie
sessions = json.loads(call("GET", "/v1/sessions", headers={"Cookie": cookie.split(";")[0]})[2])
assert [one["address"] for one in sessions["data"]] == [CLIENT[0]], sessions

status, _, content = call("POST", "/v1/tokens", {"name": "ci", **credentials})
assert status == 201, content
bearer = {"Authorization": f"Bearer {json.loads(content)['token']}"}

# Sends of 20 KB over one connection.
kept = http.client.HTTPSConnection(HOST, HTTPS)
letter = {"to": ["ann"], "subject": "A long letter", "body": "x" * 20_000}
times = []
for _ in range(10):
    started = time.monotonic()
    status, _, content = call("POST", "/v1/messages", letter, bearer, kept)
    times.append(time.monotonic() - started)
    assert status == 201, content
assert len(json.loads(call("GET", "/v1/messages", headers=bearer)[2])["data"]) == 10

# Events come at once.
stream, answer = listen(bearer)
delays = []
for _ in range(5):
    status, _, _ = call("POST", "/v1/messages", {"to": ["ann"], "body": "now"}, bearer, kept)
    assert status == 201
    sent = time.monotonic()
    read_until(answer, b"event: message.created")
    delays.append(time.monotonic() - sent)
assert sorted(delays)[2] < 0.1, delays
stream.close()
answer.close()
# Apache looks at its client only when it has something to say to it: a ping, every 15 seconds.
started = time.monotonic()
until("the closed stream is gone", lambda: streams() == 0, 40 if NAME == "apache" else 5)
gone = time.monotonic() - started

# A token that was revoked, with bodies that are sent before the answer is read.
status, _, content = call("POST", "/v1/tokens", {"name": "ended", **credentials})
ended, id = json.loads(content)["token"], json.loads(content)["id"]
assert call("DELETE", f"/v1/tokens/{id}", headers=bearer)[0] == 204
# Some say that they wait to be asked, and some proxies say so for them and do not wait. Of long bodies of theirs
# Caddy and Traefik cut off some themselves, because Go reads no more of them once there is a response.
ASKING = (60_000,) if NAME in ("caddy", "traefik") else (60_000, 300_000)
seen = {}
for length in (60_000, 300_000, 1_000_000):
    for asks in ({}, {"Expect": "100-continue"})[: 1 + (length in ASKING)]:
        statuses = []
        for _ in range(20):
            try:
                bearer_ended = {"Authorization": f"Bearer {ended}", **asks}
                status, _, content = call("POST", "/v1/messages", b"x" * length, bearer_ended)
            except (OSError, http.client.HTTPException) as cut:
                status = type(cut).__name__
            statuses.append(status)
        assert statuses.count(401) >= 19, (length, asks, statuses)
        seen[length, bool(asks)] = statuses

median = lambda values: f"{sorted(values)[len(values) // 2] * 1000:.0f} ms"
print(f"{NAME}: a send of 20 KB {median(times)}, an event {median(delays)} later, a closed stream gone after "
      f"{gone:.1f} s, 401 seen {sum(one.count(401) for one in seen.values())} times of {sum(map(len, seen.values()))}")
