"""The message of the app with the classic API."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class Message(models.Model):
    sender = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sent")
    receiver = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="received")
    subject = models.CharField(max_length=200)
    body = models.TextField()
    creation_date = models.DateTimeField(default=timezone.now)
    is_read = models.BooleanField(default=False)
