"""The sockets that a server listens on, and how its address is shown."""

import logging
import socket

import pytest

from service.errors import InvalidInput
from service.server.sockets import claimed, open_all, open_for_processes, open_sockets
from service.settings.web import url_of

HAS_IPV6 = socket.has_dualstack_ipv6()  # of the kernel, not of Python alone
needs_ipv6 = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")


def close(opened: list[socket.socket]) -> None:
    for each in opened:
        each.close()


@needs_ipv6
def test_every_address_is_one_of_both_families(caplog: pytest.LogCaptureFixture) -> None:
    """`::` listens on IPv6 and IPv4 on one port, clients keep their own addresses, and the log shows both."""
    with caplog.at_level(logging.INFO):
        opened = open_sockets("::", 0)
    port = opened[0].getsockname()[1]
    for host, listening in zip(("::1", "127.0.0.1"), opened, strict=True):
        listening.listen()
        with socket.create_connection((host, port), timeout=5):
            connection, peer = listening.accept()
            connection.close()
        assert peer[0] == host
    assert caplog.messages == [f"addresses: [::]:{port}, 0.0.0.0:{port}"]
    close(opened)


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    opened = open_sockets(host, port)
    for each in opened:
        each.listen()
    return opened


def without(families: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine refuse sockets of these families, as one does where they are turned off."""
    create = socket.socket

    def refuse(family: int = socket.AF_INET, *arguments: int) -> socket.socket:
        if family in families:
            raise OSError(97, "Address family not supported by protocol")
        return create(family, *arguments)

    monkeypatch.setattr("service.server.sockets.socket.socket", refuse)


def test_a_family_that_is_turned_off_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Without IPv6 `::` listens on IPv4 and the log warns; without both the start is refused in one line."""
    without((socket.AF_INET6,), monkeypatch)
    with caplog.at_level(logging.INFO):
        close(open_sockets("::", 0))
    assert caplog.messages[0] == "not listening on [::]:0: Address family not supported by protocol"
    assert caplog.messages[1].startswith("addresses: 0.0.0.0:")
    without((socket.AF_INET6, socket.AF_INET), monkeypatch)
    with pytest.raises(InvalidInput, match=r"^ADAKRON_HOST: cannot listen on 0\.0\.0\.0:0: Address family not"):
        open_sockets("::", 0)


def test_a_port_that_is_taken() -> None:
    """It is refused in one line that names address and port, and the server's other port is given back."""
    taken = listening_sockets("127.0.0.1", 0)
    port = taken[0].getsockname()[1]
    with pytest.raises(InvalidInput, match=rf"^ADAKRON_PORT: cannot listen on 127\.0\.0\.1:{port}: .* in use"):
        open_sockets("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", 0)) as free:
        public = free.getsockname()[1]
    with pytest.raises(InvalidInput, match=r"^ADAKRON_ADMIN_PORT: .* already in use"):
        open_all([("127.0.0.1", public), ("127.0.0.1", port)])
    close(open_sockets("127.0.0.1", public))
    close(taken)


@pytest.mark.parametrize(("public", "admin"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
def test_one_port_for_both(public: str, admin: str) -> None:
    """The message says that the admin port is the public one, and not that another program has it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(InvalidInput, match=rf"^ADAKRON_ADMIN_PORT: {port} is the public port, too: choose another"):
        open_all([(public, port), (admin, port)])


def test_one_port_on_two_addresses() -> None:
    """The admin port may have the number of the public one on another address of the machine."""
    first = open_sockets("127.0.0.1", 0)
    port = first[0].getsockname()[1]
    close(first)
    opened = open_all([("127.0.0.1", port), ("127.0.0.2", port)])
    assert [[one.getsockname() for one in each] for each in opened] == [[("127.0.0.1", port)], [("127.0.0.2", port)]]
    for each in opened:
        close(each)


@needs_ipv6
def test_a_port_that_one_family_lacks() -> None:
    """If another program has the port on IPv4, `::` is refused: half of the clients would reach the other program."""
    taken = listening_sockets("127.0.0.1", 0)
    with pytest.raises(InvalidInput, match="already in use"):
        open_sockets("::", taken[0].getsockname()[1])
    close(taken)


@pytest.mark.parametrize("num_processes", [1, 3])
def test_two_servers_never_share_a_port(num_processes: int) -> None:
    """Before the first one listens, and whether or not its processes share the port: the second one is refused."""
    first = open_for_processes([("127.0.0.1", 0), ("127.0.0.1", 0)], num_processes)
    admin_port = first[0][1][0].getsockname()[1]
    with claimed(first[0]):
        second = open_for_processes([("127.0.0.1", 0), ("127.0.0.1", admin_port)], num_processes)
        refused = pytest.raises(InvalidInput, match=rf"^ADAKRON_ADMIN_PORT: .*:{admin_port}: another server has it")
        with refused, claimed(second[0]):
            pass
        for each in second:
            close([*each[0], *each[1]])
    with claimed(first[0]):  # free again
        pass
    for each in first:
        close([*each[0], *each[1]])


def test_processes_share_a_port() -> None:
    """Each has a socket of its own on the port that the kernel chose for the first one; all of them get clients."""
    opened = open_for_processes([("127.0.0.1", 0)], 3)
    listening = [each[0][0] for each in opened]
    port = listening[0].getsockname()[1]
    assert [each.getsockname()[1] for each in listening] == [port] * 3
    for each in listening:
        each.listen(128)
        each.setblocking(False)
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(64)]
    for each in listening:
        each.accept()[0].close()  # BlockingIOError if it got none
    close([*clients, *listening])


@pytest.mark.parametrize("host", ["no.such.host.invalid", "10.255.255.1", "a..b", "[::]", "http://0.0.0.0"])
def test_an_address_of_another_machine(host: str) -> None:
    """A name that means nothing, a URL, and an address that is not this machine's, are refused in one line."""
    with pytest.raises(InvalidInput, match=r"^ADAKRON_HOST: cannot listen on "):
        open_sockets(host, 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://127.0.0.1:80"),
        ("fd00::2", "http://[fd00::2]:80"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_urls_have_ipv6_in_brackets(host: str, url: str) -> None:
    """An address of every interface is shown as one that a client on this machine can reach."""
    assert url_of(host, 80) == url
