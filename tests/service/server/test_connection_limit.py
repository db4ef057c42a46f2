"""How many connections a server may have, by the process's limit on open files."""

import resource

import pytest

from service.server.connection.connection_limit import max_connections, raise_file_limit

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [
        (1024, 524_288, 20_256, 384),
        (1024, 4096, 4096, 384),
        (1024, INFINITE, 20_256, 384),
        (20_256, INFINITE, None, 10_000),
        (1_000_000, 1_000_000, None, 10_000),
        (INFINITE, INFINITE, None, 10_000),
        (64, 64, None, 16),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int | None, connections: int) -> None:
    """The limit is raised as far as the connections need it and the system allows, and it bounds them."""
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert max_connections() == connections
    raise_file_limit()
    assert asked == ([] if raised is None else [(raised, hard)])
