from collections.abc import Iterator

import pytest

from postroom import AsyncClient, Client
from support import Postroom, running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postroom]:
    """One server for the tests that do not mind each other."""
    with running(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture
def client(server: Postroom) -> Iterator[Client]:
    with Client(server.url, key=server.key) as made:
        yield made


@pytest.fixture(params=["threads", "asyncio", "trio"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def anyio_backend(way: str) -> str:
    """What runs the tests that are coroutines; those of the client for threads do not mind."""
    return "trio" if way == "trio" else "asyncio"


@pytest.fixture
def kind(way: str) -> type[Client | AsyncClient]:
    """Each client."""
    return Client if way == "threads" else AsyncClient
