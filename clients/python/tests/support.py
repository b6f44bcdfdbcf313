"""A real server for the tests, and a proxy that breaks connections to it."""

import inspect
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from postroom import Client, ext

BINARY = os.environ["POSTROOM"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def two_users(client: Client) -> list[str]:
    """Two new users, by their refs."""
    refs = [ext(secrets.token_hex(8)) for _ in range(2)]
    for ref in refs:
        client.server.put_user(ref)
    return refs


class Postroom:
    """A server in a folder of its own, with a server key."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        self.key = f"prk_{secrets.token_urlsafe(32)}"
        self.settings = {
            "PATH": os.environ["PATH"],
            "POSTROOM_LISTEN": self.address,
            "POSTROOM_METRICS_LISTEN": "",
            "POSTROOM_LOG": "warn",
            "POSTROOM_RATE_LIMITS": "off",
            "POSTROOM_SERVER_KEY": self.key,
            "POSTROOM_WEBHOOK_ALLOW_HOSTS": "127.0.0.1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BINARY], cwd=self.folder, env=self.settings, stdout=log, stderr=log
            )
        until(self.is_ready, "the server is ready")

    def is_ready(self) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").is_success
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def run(self, *command: str) -> str:
        """Runs a command of the binary beside the server."""
        done = subprocess.run(
            [BINARY, *command], cwd=self.folder, env=self.settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def running(folder: Path, **settings: str) -> Iterator[Postroom]:
    server = Postroom(folder, **settings)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def until(is_so: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.05)


async def wait(value: Any) -> Any:
    """What either client returned."""
    return await value if inspect.isawaitable(value) else value


class Breaking:
    """A proxy that passes requests on, and for some of them cuts the connection instead of passing
    the answer back: the server has done what was asked, and the client cannot know it.
    """

    def __init__(self, target: str) -> None:
        host, port = target.split(":")
        self.target = (host, int(port))
        self.cuts = 0
        self.requests = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=[client], daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server, suppress(OSError):
            threading.Thread(target=self.answer, args=[server, client], daemon=True).start()
            while asked := client.recv(65536):
                self.requests += bool(re.match(rb"[A-Z]+ /", asked))
                server.sendall(asked)

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answered := server.recv(65536):
                if self.cuts > 0:
                    self.cuts -= 1
                    break
                client.sendall(answered)
            client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()
