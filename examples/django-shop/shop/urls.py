"""The pages of the shop."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.offers, name="offers"),
    path("join", views.join, name="join"),
    path("login", LoginView.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("leave", views.leave, name="leave"),
    path("inbox", views.inbox, name="inbox"),
    path("inbox/<int:message>", views.letter, name="letter"),
    path("write/<int:offer>", views.write, name="write"),
    path("postroom/", include("postroom.django.urls")),
]
