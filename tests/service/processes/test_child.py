"""Child processes: one fork server for all, and the end of each."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from service.processes.channel import Channel
from service.processes.child import ChildProcess, begin, context, fork_server_place, share_fork_server


def report_parents(end: socket.socket, place: dict[str, Any]) -> None:
    """Run in a child: start a grandchild, and send the parent's id of both."""
    begin("child")
    share_fork_server(place)
    ours, theirs = socket.socketpair()
    grandchild = context().Process(target=report_parent, args=(theirs,))
    grandchild.start()
    parent = ours.recv(100).decode()
    ours.close()
    theirs.close()
    grandchild.join()

    async def send() -> None:
        ended = asyncio.Event()
        channel = await Channel.connect(end, lambda message: None, ended.set)
        channel.send((os.getppid(), int(parent)))
        channel.close()
        await ended.wait()

    asyncio.run(send())


def report_parent(end: socket.socket) -> None:
    """Run in a grandchild."""
    end.send(str(os.getppid()).encode())


def serve(end: socket.socket) -> None:
    """Run in a child: echo until the other end closes."""
    begin("child")

    async def run() -> None:
        ended = asyncio.Event()
        channel = await Channel.connect(end, lambda message: channel.send(message), ended.set)
        await ended.wait()

    asyncio.run(run())


def hang(end: socket.socket) -> None:
    """Run in a child: never end."""
    begin("child")
    time.sleep(600)


async def test_a_child_shares_the_fork_server() -> None:
    """A grandchild has the same parent as the child: the fork server that has imported everything once."""
    parents: list[tuple[int, int]] = []
    ours = await ChildProcess.start(hang, name="first", handle=parents.append)  # the fork server runs from now on
    child = await ChildProcess.start(report_parents, fork_server_place(), name="child", handle=parents.append)
    async with asyncio.timeout(60):
        await child.ended.wait()
    await child.join(5)
    await ours.join(0)
    assert child.exit_cause == "status 0"
    ((of_child, of_grandchild),) = parents
    assert of_child == of_grandchild
    assert psutil.Process(of_child).ppid() == os.getpid()


async def test_a_child_answers_until_its_channel_is_closed() -> None:
    """`join` closes the channel, and a process that serves it ends."""
    answers: list[object] = []
    child = await ChildProcess.start(serve, name="serve", handle=answers.append)
    child.send("a")
    child.send({"b": 1})
    async with asyncio.timeout(60):
        while len(answers) < 2:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)
    await child.join(30)
    assert answers == ["a", {"b": 1}]
    assert child.exit_cause == "status 0"
    assert child.ended.is_set()


async def test_a_child_that_hangs_is_killed() -> None:
    """`join` waits for its timeout, and then kills."""
    child = await ChildProcess.start(hang, name="hang", handle=lambda message: None)
    await child.join(0.05)
    assert child.exit_cause == "SIGKILL"
    assert not psutil.pid_exists(child.pid)


async def test_no_process_is_killed_after_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number may belong to another process by then: neither `kill` nor `join` without a timeout sends a signal."""
    child = await ChildProcess.start(hang, name="hang", handle=lambda message: None)
    os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        await child.ended.wait()
    sent: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr("os.kill", lambda *given: sent.append(given))
        child.kill()
        await child.join(0)
    assert sent == []
    assert child.exit_cause == "SIGKILL"


@pytest.mark.skipif(sys.platform != "linux", reason="a call of Linux")
def test_a_stopped_child_ends_with_its_server() -> None:
    """Its own thread cannot notice the end of the server; the kernel ends it."""
    program = (
        "import asyncio, time; from service.processes.child import ChildProcess, start_early; "
        "from tests.service.processes.test_child import serve\n"
        "async def run():\n"
        "    answered = asyncio.Event()\n"
        "    child = await ChildProcess.start(serve, name='serve', handle=lambda message: answered.set())\n"
        "    child.send('begun')\n"
        "    await answered.wait()\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "start_early()\n"
        "asyncio.run(run())"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child = psutil.Process(int(server.stdout.readline()))
        child.suspend()
        server.kill()
        try:
            child.wait(30)
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
