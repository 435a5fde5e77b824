# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests that wait for a model server: of each client the newest, and no more of all than fits.

Those who ask again before they have their answer share one half of the time that requests get, and those who don't, the
other half; see :mod:`.turns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import zmq

from ...core.messages.envelope import MAX_IMAGE
from .turns import Turns

AT_ONCE = 32
"""Messages that are taken in before the next turn."""

BYTES_AT_ONCE = 16 << 20
"""Bytes after which no further message is."""

MOST_CLIENTS = 64
MOST_BYTES = 2 * MAX_IMAGE

SUPERSEDED = "a newer request took its place"
TOO_MUCH = "more is asked for than the server can keep: ask again"


@dataclass(frozen=True)
class Request:
    """One message: the client's identity, an empty frame, a header, and an image or nothing."""

    frames: Sequence[bytes]

    @property
    def client(self) -> bytes:
        """Who asked."""
        return self.frames[0]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(len, self.frames))


@dataclass(frozen=True)
class Displaced:
    """A request that is not answered, and why."""

    request: Request
    reason: str


class RequestQueue:
    """What waits, one request for each client."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, Request] = {}
        self._hasty: set[bytes] = set()
        self._groups: Turns[bool] = Turns()
        self._clients: Turns[bytes] = Turns()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, request: Request) -> list[Displaced]:
        """Add one; returns what gives way to it: an older one of the same client, and whichever is largest, be it the
        new one, where that is more than the server keeps."""
        displaced = []
        older = self._waiting.get(request.client)
        self._waiting[request.client] = request
        if older is not None:
            self._hasty.add(request.client)
            displaced.append(Displaced(older, SUPERSEDED))
        if len(self._waiting) > MOST_CLIENTS or sum(r.size for r in self._waiting.values()) > MOST_BYTES:
            largest = max(self._waiting.values(), key=lambda r: r.size)  # whoever needs little goes on
            self._forget(largest.client)
            displaced.append(Displaced(largest, TOO_MUCH))
        return displaced

    def take(self) -> Request:
        """The next one; there must be one."""
        hasty = self._groups.next({client in self._hasty: None for client in self._waiting})
        client = self._clients.next(c for c in self._waiting if (c in self._hasty) == hasty)
        return self._waiting[client]

    def answered(self, request: Request, seconds: float) -> None:
        """Take note that the request that was taken has its answer, and how long that took."""
        self._groups.charge(request.client in self._hasty, seconds)
        self._clients.charge(request.client, seconds)
        self._forget(request.client)

    def _forget(self, client: bytes) -> None:
        self._waiting.pop(client)
        self._hasty.discard(client)


def take_in(socket: zmq.Socket[bytes], queue: RequestQueue) -> list[Displaced]:
    """Move some of what waits at a ROUTER socket into the queue, without waiting; returns what is not to be answered.

    A message that is no request, lacking the empty frame or the header, displaces nothing.
    """
    displaced: list[Displaced] = []
    size = 0
    for _ in range(AT_ONCE):
        if size > BYTES_AT_ONCE or not socket.poll(0):
            break
        request = Request(socket.recv_multipart())
        size += request.size
        if len(request.frames) < 3 or request.frames[1] != b"":
            displaced.append(Displaced(request, "the message is no request"))
        else:
            displaced += queue.put(request)
    return displaced
