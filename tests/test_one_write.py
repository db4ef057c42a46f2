"""What is written in one turn of the loop goes out at once, in its order."""

import asyncio

from service.one_write import OneWrite


class Recording(asyncio.Transport):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.told.append(bytes(data))

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")


async def test_head_and_body_go_together() -> None:
    """Nothing is sent while the turn lasts; then everything, in one piece; and so again in the next turn."""
    recording = Recording()
    transport = OneWrite(recording, asyncio.get_running_loop())
    for number in range(2):
        transport.write(b"head")
        transport.write(b"body")
        assert len(recording.told) == number
        await asyncio.sleep(0)
    assert recording.told == [b"headbody"] * 2


async def test_what_was_written_goes_before_the_end() -> None:
    """A connection that is closed sends what it was given; one that is aborted does not."""
    for end, told in (("close", [b"last", "close"]), ("abort", ["abort"])):
        recording = Recording()
        transport = OneWrite(recording, asyncio.get_running_loop())
        transport.write(b"last")
        getattr(transport, end)()
        await asyncio.sleep(0)
        assert recording.told == told
