"""Postroom for the users of a Django app.

Add `"postroom.django"` to `INSTALLED_APPS`, and the address and key of the server to the
settings: `POSTROOM = {"URL": …, "SERVER_KEY": …}`, or the same in the environment.
"""

from .client import client, for_user, ref_of
from .unread import forget_unread, unread_of

__all__ = ["client", "for_user", "forget_unread", "ref_of", "unread_of"]
