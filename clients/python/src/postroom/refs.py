"""How calls name a user."""

from urllib.parse import quote

Ref = int | str
"""A user: their integer id, `ext:` and the app's own id (see `ext`), or a username.

A string is never an id: `"42"` is the user who is called 42.
"""


def ext(own_id: object) -> str:
    """The ref of the user whom the app knows by `own_id`: `ext(42)` is `"ext:42"`."""
    if own_id is None:
        raise TypeError("the app's own id of a user is None")
    return f"ext:{own_id}"


def written(ref: Ref) -> str:
    """A ref for a URL, where digits would be an id, and dots alone a folder of the path."""
    if isinstance(ref, bool) or not isinstance(ref, int | str):
        raise TypeError(f"a user is named by an int or a str, not by {ref!r}")
    is_name = isinstance(ref, str) and (ref.isdecimal() or ref in (".", ".."))
    return f"name:{ref}" if is_name else str(ref)


def number(number: int) -> str:
    """An id for a path; anything else could name another resource."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"an id is an int, not {number!r}")
    return str(number)


def path(pattern: str, *parts: Ref) -> str:
    """A path with refs in the places of `{}`."""
    return pattern.format(*(quote(written(part), safe="") for part in parts))
