# SPDX-License-Identifier: GPL-3.0-or-later
"""ZeroMQ sockets of a run: samples by PUSH/PULL, news by PUB/SUB, requests by REQ/ROUTER.

The trainer binds, everyone else connects. Loopback needs no keys; any other address needs CURVE keys, because
whoever can reach an open port could otherwise feed it samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import zmq
import zmq.auth

from ..errors import UserError
from ..step_times import Stopwatch
from . import addresses
from .curve_security import Security
from .envelope import MAX_IMAGE, MessageError, encode_request, parse
from .events import Event, Posterior, decode_event
from .gate import Gate, Limits
from .samples import Sample, SampleContract, decode_sample, encode_sample

QUEUE = 4
"""Messages that may wait on each side of the sample stream, per worker."""


NEWS = 1000
"""News that may wait for one listener, and that it hears at once."""

LONGEST_TOPIC = 256
SUBSCRIPTIONS = 64
"""In a connection's life: the memory of a subscription is fifty times its length."""
LONGEST_REQUEST = 1 << 16
UNANSWERED = 4
"""Requests of one client that may wait for their answers."""
SPARE = 16
"""Connections beyond those of the workers, some of which may just be starting again."""


@dataclass(frozen=True)
class Endpoints:
    """The three ports of a run on one host."""

    host: str
    samples: int
    news: int
    control: int

    def url(self, port: int) -> str:
        """``tcp://`` address of one of the ports."""
        return addresses.url(self.host, port)


class Hub:
    """The trainer's side: binds all three sockets."""

    def __init__(self, host: str, port: int, keys: str = "", *, largest: int = MAX_IMAGE, workers: int = 16) -> None:
        """Bind the sockets.

        Args:
            largest: bytes of one sample.
            workers: that may send samples.

        Raises:
            UserError: if the address or the keys can't be used.
        """
        self.security = Security(host, keys)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._gates: list[Gate] = []
        self.samples = self._socket(zmq.PULL)
        self.news = self._socket(zmq.PUB)
        self.control = self._socket(zmq.ROUTER)
        self.samples.rcvhwm = QUEUE
        self.control.setsockopt(zmq.ROUTER_HANDOVER, 1)
        bounds = (
            (self.samples, Limits(largest, connections=workers + SPARE)),
            (self.news, Limits(LONGEST_TOPIC, lifetime=SUBSCRIPTIONS)),
            (self.control, Limits(LONGEST_REQUEST, unanswered=UNANSWERED)),
        )
        try:
            self.security.start(self.context)
            for i, (socket, limits) in enumerate(bounds):
                at = port + i if port else 0
                self._gates.append(Gate(socket, host, at, limits, encrypted=self.security.folder is not None))
        except UserError:
            self.close()
            raise
        self.endpoints = Endpoints(host, *(gate.port for gate in self._gates))

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.linger = 0
        self.security.server(socket)
        return socket

    def close(self) -> None:
        """Close all sockets at once."""
        self.security.stop()
        self.context.destroy(linger=0)
        for gate in self._gates:
            gate.close()


class SampleReceiver:
    """Takes samples off the hub's PULL socket; ZeroMQ takes from connected workers in turn.

    Whatever is not a sample of this run is dropped; ``dropped`` counts it and ``on_drop`` is told why.
    """

    def __init__(self, socket: zmq.Socket[bytes], contract: SampleContract, on_drop: Callable[[str], None]) -> None:
        self.socket = socket
        self.contract = contract
        self.on_drop = on_drop
        self.dropped = 0

    def receive(self, timeout: float) -> Sample | None:
        """The next valid sample, or None after ``timeout`` seconds, whatever else comes meanwhile."""
        end = time.monotonic() + timeout
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                if not self.socket.poll(max(0, int(1000 * (end - time.monotonic())))):
                    return None
                continue
            try:
                return decode_sample([f.buffer for f in frames], self.contract)
            except MessageError as problem:
                self.dropped += 1
                self.on_drop(str(problem))
                if time.monotonic() > end:
                    return None


class Link:
    """A worker's or watcher's side: connects to a hub."""

    def __init__(self, endpoints: Endpoints, run_id: str, keys: str = "") -> None:
        self.endpoints = endpoints
        self.run_id = run_id
        self.security = Security(endpoints.host, keys)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._samples: zmq.Socket[bytes] | None = None
        self._news: zmq.Socket[bytes] | None = None
        self._control: zmq.Socket[bytes] | None = None
        self.sending: dict[str, float] = {}
        """Seconds that :meth:`send` took for the last sample: see :data:`.step_times.BESIDE`."""

    def _connect(self, kind: int, port: int) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.linger = 0
        self.security.client(socket)
        socket.connect(self.endpoints.url(port))
        return socket

    def send(self, sample: Sample, stopped: Callable[[], bool]) -> bool:
        """Send one sample, waiting as long as the trainer is behind; False if ``stopped()`` said so meanwhile.

        The sample's image and mask must not be written to afterwards.
        """
        if self._samples is None:
            socket = self.context.socket(zmq.PUSH)
            socket.linger = 0
            socket.sndhwm = QUEUE
            socket.immediate = True
            self.security.client(socket)
            socket.connect(self.endpoints.url(self.endpoints.samples))
            self._samples = socket
        watch = Stopwatch()
        header, *buffers = encode_sample(sample, self.run_id)
        while not stopped():
            watch.lap("send")
            try:
                self._samples.send(header, zmq.SNDMORE | zmq.NOBLOCK)
            except zmq.Again:
                self._samples.poll(100, zmq.POLLOUT)
                watch.lap("wait")
                continue
            # Not copied: ZeroMQ holds on to the arrays until they are sent. It never waits within a message.
            self._samples.send_multipart(buffers, copy=False)
            watch.lap("send")
            self.sending = {"wait": 0.0, **watch.seconds}
            return True
        return False

    def subscribe(self, topic: bytes) -> None:
        """Begin to listen to ``posterior`` or ``event``."""
        if self._news is None:
            self._news = self._connect(zmq.SUB, self.endpoints.news)
            self._news.rcvhwm = NEWS
        self._news.setsockopt(zmq.SUBSCRIBE, topic)

    def news(self) -> list[Posterior | Event]:
        """What was heard since the last call, without waiting; foreign messages are left out."""
        heard: list[Posterior | Event] = []
        for _ in range(NEWS):
            if self._news is None or not self._news.poll(0):
                break
            frames = self._news.recv_multipart()
            try:
                if len(frames) == 2 and frames[0] == b"posterior":
                    heard.append(Posterior.decode(frames[1], self.run_id))
                elif len(frames) == 2:
                    heard.append(decode_event(frames[1], self.run_id))
            except MessageError:
                continue
        return heard

    def command(self, kind: str) -> None:
        """Tell the trainer something (``pause``, ``resume``, ``stop``) without waiting for its answer."""
        if self._control is None:
            self._control = self._connect(zmq.DEALER, self.endpoints.control)
        with suppress(zmq.Again):  # a trainer that doesn't know our keys leaves nobody to send to
            self._control.send_multipart([b"", encode_request(kind, run=self.run_id)], zmq.NOBLOCK)

    def request(self, frames: Sequence[bytes], timeout: float) -> dict[str, object] | None:
        """Ask the control socket and wait for the answer; None after ``timeout`` seconds.

        Raises:
            MessageError: if the answer is not one of ours.
        """
        socket = self._connect(zmq.REQ, self.endpoints.control)
        socket.sndtimeo = int(1000 * timeout)
        try:
            socket.send_multipart(frames)
            if not socket.poll(int(1000 * timeout)):
                return None
            return parse(socket.recv_multipart()[0])
        except zmq.Again:
            return None
        finally:
            socket.close()

    def close(self) -> None:
        """Close all sockets at once; what was sent but not yet taken is lost."""
        self.context.destroy(linger=0)
