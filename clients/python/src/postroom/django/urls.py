"""`path("postroom/", include("postroom.django.urls"))`."""

from django.urls import path

from . import views

app_name = "postroom"
urlpatterns = [
    path("token", views.token, name="token"),
    path("webhook", views.webhook, name="webhook"),
]
