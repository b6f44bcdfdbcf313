from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import include, path

PAGE = """{% load postroom %}{{ postroom_unread.messages }} {% postroom_unread request.user %}"""


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({"request": request}, request))


urlpatterns = [
    path("page", page),
    path("logout", LogoutView.as_view(next_page="/page")),
    path("postroom/", include("postroom.django.urls")),
]
