"""DispatchServer: answers the HTTP processes of one server with a LocalDispatcher."""

import asyncio

from service.dispatch.load_page import Load, LoadPage
from service.engine_process.local import LocalDispatcher
from service.engine_process.peer import Peer
from service.processes.channel import Channel

FOLLOW_S = 1.0  # in which an HTTP process must have read the registry after a change; then it is ended
PUBLISH_S = 0.005  # between two writes of the load page after messages
BEAT_S = 0.5  # between two signs of life
REPUBLISH_S = 0.025  # while permits are held: batches of large requests give tokens back without a message


class DispatchServer:
    """The HTTP processes that are connected, and the page that shows them the load."""

    def __init__(self, dispatcher: LocalDispatcher, page: LoadPage) -> None:
        self.dispatcher, self._page = dispatcher, page
        self._peers: set[Peer] = set()
        self._is_publishing = False
        self._next_publishing: asyncio.TimerHandle | None = None  # unless a message is earlier
        self._publish()
        self._beat()

    def accept(self) -> Channel:
        """Return the channel of a new connection."""
        peer = Peer(self)
        self._peers.add(peer)
        return peer.channel

    def remove(self, peer: Peer) -> None:
        """Forget a process whose connection has ended."""
        self._peers.discard(peer)

    def publish_soon(self) -> None:
        """Write the load page within PUBLISH_S: something has changed."""
        if not self._is_publishing:
            self._is_publishing = True
            asyncio.get_running_loop().call_later(PUBLISH_S, self._publish)

    def _beat(self) -> None:
        self._page.beat()
        asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _publish(self) -> None:
        admission = self.dispatcher.parts.admission
        num_opened = {peer.connection: peer.num_opened for peer in self._peers}
        self._page.write(Load(admission.state(), num_opened))
        self._is_publishing = False
        if self._next_publishing is not None:
            self._next_publishing.cancel()
        if admission.num_requests:
            self._next_publishing = asyncio.get_running_loop().call_later(REPUBLISH_S, self._publish)

    async def announce(self, origin: Peer) -> None:
        """Wait until this process and every HTTP process but `origin` have read the registry.

        An HTTP process that takes longer than FOLLOW_S is ended. Raises RegistryUnavailable if one could not read it.
        """
        await self.dispatcher.announce()
        following = {asyncio.create_task(peer.follow()): peer for peer in self._peers if peer is not origin}
        if not following:
            return
        try:
            _, late = await asyncio.wait(following, timeout=FOLLOW_S)
            await asyncio.gather(*(following[task].end() for task in late))
        finally:
            for task in following:
                task.cancel()  # without effect on those that are done
        errors = [error for error in await asyncio.gather(*following, return_exceptions=True) if error]
        for error in errors:
            if not isinstance(error, asyncio.CancelledError):
                raise error
