"""What Schemathesis cannot learn from the OpenAPI document."""

import base64
import itertools
import re

import schemathesis
from hypothesis import strategies

KEY = re.compile(r'[!#-~]{1,255}|"[!#-~]{1,255}"')
numbers = itertools.count()


# Formats that the document describes in words only.
letters = strategies.characters(categories=["L", "Nd"], max_codepoint=0x17F)
words = strategies.text(letters, min_size=1, max_size=30)
places = strategies.integers(1, 2**53 - 1).map(lambda place: place.to_bytes(8, "big"))
cursors = places.map(lambda place: base64.urlsafe_b64encode(place).decode().rstrip("="))
schemathesis.openapi.format("cursor", cursors)
schemathesis.openapi.format("username", strategies.sampled_from(["ann", "bea"]) | words)
schemathesis.openapi.format("label", words)
schemathesis.openapi.format("new-password", words.map(lambda word: f"{word} in no list"))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each request a key of its own, because a key with another body is refused."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{next(numbers)}"
