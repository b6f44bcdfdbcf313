"""Runs the examples of the README from top to bottom, and those for Django as a project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import Postroom

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:# |<!-- )([\w/]+\.\w+)(?: -->)?\n")


def test_the_examples_run(server: Postroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROOM_URL", server.url)
    monkeypatch.setenv("POSTROOM_SERVER_KEY", server.key)
    examples = [text for kind, text in BLOCKS if kind == "python" and not NAMED.match(text)]
    assert len(examples) >= 9
    script = "\n".join(examples)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for expected in [
        "Ann Hello How are you?",
        "422 unknown_recipient",
        "[('#/to/0', 'there is no such user')]",
        "{'42': 1, '43': 0}",
    ]:
        assert expected in done.stdout, done.stdout


def test_the_django_project_runs(server: Postroom, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "POSTROOM_URL": server.url,
        "POSTROOM_SERVER_KEY": server.key,
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "django", "startproject", "site_of_the_app", ".")
    project = tmp_path / "site_of_the_app"
    pieces = {match[1]: text for _, text in BLOCKS if (match := NAMED.match(text))}
    assert set(pieces) == {"settings.py", "urls.py", "views.py", "templates/inbox.html"}
    settings = (project / "settings.py").read_text().replace('"DIRS": []', '"DIRS": ["templates"]')
    (project / "settings.py").write_text(
        settings.replace("'DIRS': []", "'DIRS': ['templates']")
        + "\nimport os\n"
        + pieces["settings.py"]
    )
    (project / "views.py").write_text(pieces["views.py"])
    urls = (project / "urls.py").read_text()
    (project / "urls.py").write_text(
        f"{urls}\nfrom django.urls import include\nfrom . import views\n"
        f"urlpatterns += [path('inbox', views.inbox)]\n{pieces['urls.py']}"
    )
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/inbox.html").write_text(pieces["templates/inbox.html"])
    run(sys.executable, "manage.py", "migrate")
    commands = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
    for command in commands:
        if "manage.py" in command:
            run(sys.executable, *command.partition("#")[0].split()[1:])
    said = run(sys.executable, "manage.py", "shell", "-c", TRY)
    assert "dana: 1 unread" in said
    assert "dana: hello" in said


TRY = """
from django.contrib.auth.models import User
from django.test import Client
from postroom.django import for_user
dana = User.objects.create_user("dana")
for_user(dana).send("ext:%s" % dana.pk, subject="hello", body="A letter to myself.")
page = Client(headers={"host": "localhost"})
assert page.get("/postroom/token").status_code == 401
page.force_login(dana)
print(page.get("/inbox").content.decode())
assert page.get("/postroom/token").json()["token"].startswith("pru_")
"""
