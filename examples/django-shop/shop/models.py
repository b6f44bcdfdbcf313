"""What members offer. Members are Django's users, and what they write to each other is Postroom's."""

from django.conf import settings
from django.db import models


class Offer(models.Model):
    """Something that a member sells."""

    seller = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
