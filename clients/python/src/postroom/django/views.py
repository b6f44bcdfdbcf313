"""Views for the pages of a user, and for what the server reports."""

import logging

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from postroom import PostroomError, Problem, Webhooks, WebhookVerificationError

from . import signals
from .client import client, ref_of
from .conf import settings
from .unread import forget_unread
from .users import record_of, session_name, version_now

logger = logging.getLogger("postroom")

# What the server says of users whom it takes no letters from, and will say again.
REFUSED = ("user_deactivated", "user_erased", "name_reserved")

# Seconds for which deliveries of an event are repeated: three days.
REPEATED_FOR = 3 * 24 * 3600


@never_cache
@require_GET
def token(request: HttpRequest) -> JsonResponse:
    """A browser token for the user who is logged in: `{token, expires_at, user}`.

    With 401 there is none: nobody is logged in, or they may not write any more. After 503 the page
    may ask again. The token ends with the session of the app. Only pages of this site can read it.
    """
    user = request.user
    if not user.is_authenticated:
        return JsonResponse({"code": "unauthenticated"}, status=401)
    if not settings().url:
        return JsonResponse({"code": "unavailable"}, status=503)
    version, key = version_now(), request.session.session_key
    record = record_of(user, version)
    # A token makes nobody who is deactivated, and has no field for it.
    if record.pop("active", True) is False:
        return JsonResponse({"code": "user_deactivated"}, status=401)
    try:
        made = client().server.create_token(
            ref_of(user),
            expires_in=settings().token_seconds,
            session=session_name(key) if key else None,
            create=record,
        )
    except PostroomError as error:
        if isinstance(error, Problem) and error.code in REFUSED:
            return JsonResponse({"code": error.code}, status=401)
        logger.error("no browser token for %s: %s", ref_of(user), error)
        return JsonResponse({"code": "unavailable"}, status=503)
    return JsonResponse(made.as_json())


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Verifies an event, forgets the counts that it changes, and sends the signal `event`."""
    if not settings().webhook_secret:
        return HttpResponse(status=404)
    try:
        event = Webhooks(settings().webhook_secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return HttpResponse(status=400)
    if event.type == "unread.changed":
        forget_unread(event.data.get("external_id"))
    seen = f"postroom.event.{event.id}"
    if cache.add(seen, True, REPEATED_FOR):
        try:
            signals.event.send(sender=None, event=event)
        except Exception:
            cache.delete(seen)
            raise
    return HttpResponse(status=204)
