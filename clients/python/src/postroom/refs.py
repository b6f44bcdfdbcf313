"""How calls name a user."""

from urllib.parse import quote

Ref = int | str
"""A user: their integer id, `ext:` and the app's own id (see `ext`), or a username.

A string is never an id: `"42"` is the user who is called 42.
"""


def ext(own_id: object) -> str:
    """The ref of the user whom the app knows by `own_id`: `ext(42)` is `"ext:42"`."""
    return f"ext:{own_id}"


def written(ref: Ref) -> str:
    """A ref for the query string, where digits would be an id."""
    return f"name:{ref}" if isinstance(ref, str) and ref.isdecimal() else str(ref)


def path(pattern: str, *parts: Ref) -> str:
    """A path with refs in the places of `{}`."""
    return pattern.format(*(quote(written(part), safe="") for part in parts))
