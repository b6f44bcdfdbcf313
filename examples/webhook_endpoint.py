"""An endpoint for Postroom's webhooks, as an app would write it. Needs: pip install standardwebhooks

    WEBHOOK_SECRET=$(postroom webhook secret 1) python3 examples/webhook_endpoint.py 9009
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
# A real app keeps the ids in its database for 30 days, and adds them in the transaction that handles the event.
seen = set()


def handle(event):
    """What the app does with an event; this one prints it."""
    print(event["type"], event["timestamp"], event["data"], flush=True)


class Endpoint(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.respond(400)
        id = self.headers["webhook-id"]
        if id not in seen:
            handle(event)
            seen.add(id)
        # Respond only now: an event that does not get a 2xx within 10 seconds is sent again.
        self.respond(204)

    def respond(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Endpoint).serve_forever()
