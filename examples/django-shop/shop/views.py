"""The views of the shop: `client` is the shop's own, `for_user` that of a member."""

import logging
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from postroom import PostroomError, Problem, ext
from postroom.django import client, for_user, forget_unread, ref_of
from postroom.django.conf import settings as postroom_settings

from .models import Offer

logger = logging.getLogger(__name__)

# The system user whom announcements come from.
SHOP = ext("shop")


class OfferForm(forms.ModelForm):
    """What a member offers."""

    class Meta:
        model = Offer
        fields = ("title", "price")


class JoinForm(UserCreationForm):
    """Who joins; the password is for the shop alone."""

    class Meta(UserCreationForm.Meta):
        fields = ("username", "first_name", "email")


class LetterForm(forms.Form):
    """A message."""

    body = forms.CharField(widget=forms.Textarea, label="Your message")
    # Names this message, so that a form that is submitted twice sends it once.
    once = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


def postroom_url(request: HttpRequest) -> dict[str, str]:
    """For templates: where pages reach Postroom."""
    return {"postroom_url": postroom_settings().url}


def with_postroom(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Shows a page that says so where Postroom does not answer; the rest of the shop goes on."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except Problem as problem:
            if problem.code != "not_found":
                raise
            return render(
                request, "shop/away.html", {"why": "There is no such message."}, status=404
            )
        except PostroomError as error:
            logger.warning("no messages: %s", error)
            why = "Messages are away for a moment. Please come back."
            return render(request, "shop/away.html", {"why": why}, status=503)

    return guarded


def offers(request: HttpRequest) -> HttpResponse:
    """What is offered; members can add something."""
    form = OfferForm(request.POST or None)
    if request.method == "POST" and request.user.is_authenticated and form.is_valid():
        form.instance.seller = request.user
        form.save()
        return redirect("offers")
    shown = Offer.objects.select_related("seller").order_by("-pk")
    return render(request, "shop/offers.html", {"offers": shown, "form": form})


def join(request: HttpRequest) -> HttpResponse:
    """A new member. Saving them tells Postroom (`postroom.django`); then they are welcomed."""
    form = JoinForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save()
        login(request, user)
        welcome(user)
        return redirect("offers")
    return render(request, "shop/join.html", {"form": form})


def welcome(user: User) -> None:
    """Sends the welcome; a member who joins while Postroom is away does without."""
    try:
        client().server.send(
            SHOP,
            ref_of(user),
            subject="Welcome",
            body=f"Hello {user.first_name or user.username}, this is where members write to each other.",
            idempotency_key=f"welcome-{user.pk}",
        )
    except PostroomError as error:
        logger.warning("%s was not welcomed: %s", ref_of(user), error)


@login_required
@require_POST
def leave(request: HttpRequest) -> HttpResponse:
    """The member leaves: deleting them erases their mailbox as well (`postroom.django`)."""
    user = request.user
    logout(request)
    user.delete()
    messages.info(request, "Your account and your mailbox are gone.")
    return redirect("offers")


@login_required
@with_postroom
def inbox(request: HttpRequest) -> HttpResponse:
    """The member's messages, the newest first."""
    mailbox = for_user(request.user, present=True)
    page = mailbox.messages(limit=20).page(request.GET.get("cursor"))
    return render(request, "shop/inbox.html", {"page": page})


@login_required
@with_postroom
def letter(request: HttpRequest, message: int) -> HttpResponse:
    """One message, which is read with this, what was written before it, and a reply."""
    mailbox = for_user(request.user, present=True)
    shown = mailbox.get_message(message)
    form = LetterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        once = str(form.cleaned_data["once"])
        try:
            mailbox.send(in_reply_to=message, body=form.cleaned_data["body"], idempotency_key=once)
            messages.info(request, "Your reply was sent.")
            return redirect("inbox")
        except Problem as problem:
            form.add_error(None, words(problem))
    if shown.read_at is None:
        mailbox.mark(message, read=True)
        forget_unread(request.user.pk)
    earlier = (
        mailbox.messages(folder="all", conversation=shown.conversation_id, limit=20).page().data
    )
    return render(
        request,
        "shop/letter.html",
        {"letter": shown, "earlier": [one for one in earlier if one.id < message], "form": form},
    )


@login_required
@with_postroom
def write(request: HttpRequest, offer: int) -> HttpResponse:
    """A message to the member who offers something."""
    about = get_object_or_404(Offer.objects.select_related("seller"), pk=offer)
    form = LetterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            for_user(request.user, present=True).send(
                ref_of(about.seller),
                subject=about.title,
                body=form.cleaned_data["body"],
                metadata={"offer": about.pk},
                idempotency_key=str(form.cleaned_data["once"]),
            )
            messages.info(request, "Your message was sent.")
            return redirect("offers")
        except Problem as problem:
            form.add_error(None, words(problem))
    return render(request, "shop/write.html", {"offer": about, "form": form})


def words(problem: Problem) -> str:
    """What a member is told of a refusal."""
    known = {
        "recipient_unavailable": "They do not take messages from you.",
        "unknown_recipient": "They are not a member any more.",
        "no_replies": "Nobody reads replies to this message.",
    }
    if problem.status >= 500 or problem.code not in known:
        raise problem
    return known[problem.code]
