"""What an app writes to be told of events by Postroom: pip install standardwebhooks

    WEBHOOK_SECRET=$(postroom webhook secret 1) python3 examples/webhook_receiver.py 9009
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen = set()  # An app keeps the ids in its database, for 30 days, in the transaction of what it does.


def happened(event):
    """What the app does with an event; here it says so."""
    print(event["type"], event["timestamp"], event["data"], flush=True)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            event = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(400)
        id = self.headers["webhook-id"]
        if id not in seen:
            happened(event)
            seen.add(id)
        # Only now: what is answered with anything but 2xx, or after 10 seconds, comes again.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
