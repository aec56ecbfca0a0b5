"""Stands between a client and a server on Unix sockets, and cuts the line at the worst moment.

    python proxy.py LISTEN SERVER WORD EVERY

What a client says is passed on. After every `EVERY`th time that it says `WORD` (empty: anything),
the server's answer is awaited and thrown away and the connection is cut: the client cannot know
whether it was done.
"""

import asyncio
import contextlib
import sys
from itertools import count

CHUNK = 65_536


class Proxy:
    """Counts over all connections."""

    def __init__(self, server: str, word: bytes, every: int) -> None:
        self._server = server
        self._word = word
        self._every = every
        self._said = count(1)

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """One connection, until either side ends or it is cut."""
        with contextlib.suppress(OSError):
            answers, server = await asyncio.open_unix_connection(self._server)
            relay = asyncio.create_task(self._pass(answers, back))
            while data := await client.read(CHUNK):
                cut = self._word in data and next(self._said) % self._every == 0
                if cut:
                    relay.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await relay
                server.write(data)
                await server.drain()
                if cut:
                    await answers.read(CHUNK)  # now it was done
                    break
            server.close()
            relay.cancel()
        back.transport.abort()

    async def _pass(self, answers: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(CHUNK):
                back.write(data)
                await back.drain()
        back.transport.abort()


async def main(listen: str, server: str, word: str, every: str) -> None:
    """Serve until ended."""
    proxy = Proxy(server, word.encode(), int(every))
    async with await asyncio.start_unix_server(proxy.serve, listen) as serving:
        await serving.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
