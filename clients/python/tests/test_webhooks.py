"""Real deliveries, verified."""

import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from postroom import Client, WebhookEvent, Webhooks, WebhookVerificationError, ext
from support import Postroom


def test_an_event_is_verified_and_a_forged_one_is_not(server: Postroom, client: Client) -> None:
    received: queue.Queue[tuple[bytes, dict[str, str]]] = queue.Queue()

    class Endpoint(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.put((body, dict(self.headers)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    endpoint = HTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{endpoint.server_port}/"
    added = server.run("webhook", "add", address, "--events", "user.created")
    secret = added.splitlines()[-1]
    webhooks = Webhooks(secret)

    server.run("webhook", "test", "1")
    body, headers = received.get(timeout=30)
    test = webhooks.verify(body, headers)
    assert test.type == "webhook.test"
    assert isinstance(test, WebhookEvent)
    assert test.timestamp.tzinfo is not None

    with pytest.raises(WebhookVerificationError):
        webhooks.verify(body.replace(b"1", b"2"), headers)
    with pytest.raises(WebhookVerificationError):
        webhooks.verify(body, {})
    with pytest.raises(WebhookVerificationError):
        Webhooks("whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY").verify(body, headers)

    # The server notices a new webhook within 5 seconds.
    made: list[str] = []
    while received.empty():
        made.append(f"webhook-{len(made)}")
        client.server.put_user(ext(made[-1]))
        time.sleep(0.2)
        assert len(made) < 300
    created = webhooks.verify(*received.get())
    assert created.type == "user.created"
    assert created.data["external_id"] in made
    assert created.id.startswith("evt_")
    server.run("webhook", "remove", "1")
    endpoint.shutdown()
