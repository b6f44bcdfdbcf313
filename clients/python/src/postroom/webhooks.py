"""Webhooks: what the server tells the app, verified."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

__all__ = ["WebhookEvent", "WebhookVerificationError", "Webhooks"]


class WebhookEvent(Struct, frozen=True, kw_only=True):
    """Something that happened; docs/webhooks.md lists the types and their data."""

    id: str
    """The same at each delivery: remember it, since an event may come more than once."""
    type: str
    timestamp: datetime
    data: dict[str, Any]


class Webhooks:
    """Verifies the requests to an endpoint by its secret (`whsec_…`)."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)

    def verify(self, body: bytes, headers: Mapping[str, str]) -> WebhookEvent:
        """The event in a request; raises `WebhookVerificationError` where it is not the server's.

        The request must have been signed within the last five minutes.
        """
        lower = {name.lower(): value for name, value in headers.items()}
        self._webhook.verify(body, lower)
        event = msgspec.json.decode(body, type=dict[str, Any])
        return msgspec.convert({**event, "id": lower["webhook-id"]}, WebhookEvent)
