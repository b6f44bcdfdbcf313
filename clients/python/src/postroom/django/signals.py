"""Signals that an app can connect to."""

from django.dispatch import Signal

event = Signal()
"""A verified webhook event; receivers get it as `event` (`postroom.WebhookEvent`).

Each event comes once, or more often where a receiver failed or the cache forgot.
"""
