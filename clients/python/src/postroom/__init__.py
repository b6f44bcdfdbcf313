"""The client of Postroom for Python.

from postroom import Client, ext

client = Client("https://mail.example.org", key=os.environ["POSTROOM_SERVER_KEY"])
client.server.put_user(ext(42), display_name="Ann")
client.as_user(ext(42)).send(to=ext(43), subject="Hello", body="How are you?")
"""

from .calls import AsyncListing, Listing, Request
from .client import AsyncClient, AsyncServer, Client, Server
from .errors import Displaced, FieldError, PostroomError, Problem, UnexpectedResponse, Unreachable
from .refs import Ref, ext
from .webhooks import WebhookEvent, Webhooks, WebhookVerificationError

__all__ = [
    "AsyncClient",
    "AsyncListing",
    "AsyncServer",
    "Client",
    "Displaced",
    "FieldError",
    "Listing",
    "PostroomError",
    "Problem",
    "Ref",
    "Request",
    "Server",
    "UnexpectedResponse",
    "Unreachable",
    "WebhookEvent",
    "WebhookVerificationError",
    "Webhooks",
    "ext",
]
