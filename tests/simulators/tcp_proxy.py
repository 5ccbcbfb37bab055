"""A TCP proxy that breaks connections on purpose: cut, hang, slow down or damage after a given number of bytes.

Faults count the bytes of one direction of each connection: ``down`` is from the server to the client, ``up`` the other.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 16_384


@dataclass
class Fault:
    """What goes wrong.

    Attributes:
        kind: ``none``; ``reset`` (connection reset), ``close`` (orderly end), ``hang`` (nothing passes any more),
            ``flip`` (one byte is changed) after ``after`` bytes; ``limit`` (``rate`` bytes a second from there on).
        after: how many bytes pass unharmed.
        direction: ``down`` or ``up``.
        rate: bytes a second, for ``limit``.
        connections: how many connections suffer it; None for all.
    """

    kind: str = "none"
    after: int = 0
    direction: str = "down"
    rate: int = 0
    connections: int | None = None


@dataclass
class TcpProxy:
    """A running proxy; made by ``running``.

    Attributes:
        port: where clients connect.
        fault: applies to connections from now on.
        fired: how often a fault took effect.
        passed: bytes that went through in the last connection, by direction.
    """

    target: tuple[str, int]
    port: int = 0
    fault: Fault = field(default_factory=Fault)
    fired: int = 0
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends."""
        fault, self.passed = self.fault, {"up": 0, "down": 0}
        if fault.connections is not None:
            if fault.connections == 0:
                fault = Fault()
            else:
                self.fault.connections = fault.connections - 1
        try:
            there, back = await asyncio.open_connection(*self.target, limit=_CHUNK)
        except OSError:
            writer.close()
            return
        for end in (writer, back):
            # Small buffers, so that a slow side is felt at once by the other.
            end.transport.set_write_buffer_limits(high=_CHUNK)
        pipes = [
            asyncio.ensure_future(self._pipe("up", reader, back, fault, (writer, back))),
            asyncio.ensure_future(self._pipe("down", there, writer, fault, (writer, back))),
        ]
        with suppress(asyncio.CancelledError):  # the proxy is stopped
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)
        for end in (writer, back):
            with suppress(OSError, RuntimeError):
                end.close()

    async def _pipe(
        self,
        direction: str,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        fault: Fault,
        ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        mine = fault.kind != "none" and fault.direction == direction
        passed, limited = 0, False
        with suppress(OSError):
            while True:
                if mine and fault.kind in ("reset", "close", "hang") and passed >= fault.after:
                    self.fired += 1
                    await self._break(fault.kind, ends)
                    return
                data = await source.read(self._room(fault, passed) if mine else _CHUNK)
                if not data:
                    return
                if mine and fault.kind == "flip" and passed <= fault.after < passed + len(data):
                    self.fired += 1
                    data = _flip(data, fault.after - passed)
                if mine and fault.kind == "limit" and passed >= fault.after:
                    self.fired += not limited
                    limited = True
                    await asyncio.sleep(len(data) / fault.rate)
                passed += len(data)
                self.passed[direction] = passed
                sink.write(data)
                await sink.drain()

    def _room(self, fault: Fault, passed: int) -> int:
        if passed < fault.after and fault.kind != "flip":
            return min(_CHUNK, fault.after - passed)
        return max(1, min(_CHUNK, fault.rate // 10)) if fault.kind == "limit" else _CHUNK

    async def _break(self, kind: str, ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        if kind == "hang":
            await asyncio.Event().wait()
        for end in ends:
            if kind == "reset":
                with suppress(OSError):
                    raw = end.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.transport.abort()
            else:
                end.close()


def _flip(data: bytes, at: int) -> bytes:
    damaged = bytearray(data)
    damaged[at] ^= 0x01
    return bytes(damaged)


@contextmanager
def running(host: str, port: int) -> Iterator[TcpProxy]:
    """A proxy before ``host:port`` in a thread of its own; stopped at the end of the ``with`` block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tcp-proxy", daemon=True)
    thread.start()
    proxy = TcpProxy((host, port))

    def call(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout=30)

    server = call(asyncio.start_server(proxy.handle, "127.0.0.1", 0, limit=_CHUNK))
    proxy.port = server.sockets[0].getsockname()[1]

    async def stop() -> None:
        server.close()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    try:
        yield proxy
    finally:
        call(stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
