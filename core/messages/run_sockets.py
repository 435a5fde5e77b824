# SPDX-License-Identifier: GPL-3.0-or-later
"""ZeroMQ sockets of a run: samples by PUSH/PULL, news by PUB/SUB, requests by REQ/ROUTER.

The trainer binds, everyone else connects. Loopback needs no keys; any other address needs CURVE keys, because
whoever can reach an open port could otherwise feed it samples.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from ..errors import UserError
from . import addresses
from .addresses import is_loopback
from .events import Event, Posterior, decode_event
from .gate import Gate, Limits
from .samples import (
    MAX_IMAGE,
    MessageError,
    Sample,
    SampleContract,
    decode_sample,
    encode_request,
    encode_sample,
    parse,
)

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

MAKE_KEYS = "make the keys anew as README.md tells (Keys)"


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


class Security:
    """CURVE for addresses beyond loopback; keys are files in one folder, the same on every machine of a run.

    The server proves that it has ``server.key_secret``, and lets in who has the secret of a public key in the folder.
    """

    def __init__(self, host: str, keys: str, option: str = "stream.keys") -> None:
        if not keys and not is_loopback(host):
            raise UserError(
                f"The address {host or repr(host)} can be reached from other machines: use 127.0.0.1, which they can "
                f"reach through an SSH tunnel, or give {option} a folder with keys; no command of ours makes one yet, "
                "README.md tells how (Keys)"
            )
        self.host = host
        self.folder = Path(keys) if keys else None
        self._authenticator: ThreadAuthenticator | None = None

    @staticmethod
    def create_keys(folder: str | os.PathLike[str]) -> None:
        """Make the key pairs ``server`` and ``client`` in ``folder``, readable by their owner alone."""
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("server", "client"):
            zmq.auth.create_certificates(folder, name)
            os.chmod(Path(folder) / f"{name}.key_secret", 0o600)

    def start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Begin to check clients; for the side that binds.

        Raises:
            UserError: if the folder has no keys of a server.
        """
        if self.folder is not None:
            self._pair("server")
            self._authenticator = ThreadAuthenticator(context)
            self._authenticator.start()
            self._authenticator.configure_curve(domain="*", location=self.folder)

    def stop(self) -> None:
        """End the checking thread."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None

    def server(self, socket: zmq.Socket[bytes]) -> None:
        """Prepare a socket that will bind."""
        socket.ipv6 = ":" in self.host
        if self.folder is not None:
            socket.curve_publickey, socket.curve_secretkey = self._pair("server")
            socket.curve_server = True

    def client(self, socket: zmq.Socket[bytes]) -> None:
        """Prepare a socket that will connect."""
        socket.ipv6 = ":" in self.host
        if self.folder is not None:
            socket.curve_publickey, socket.curve_secretkey = self._pair("client")
            socket.curve_serverkey = self._load("server.key")[0]

    def _pair(self, name: str) -> tuple[bytes, bytes]:
        assert self.folder is not None
        public, secret = self._load(f"{name}.key_secret")
        if secret is None:
            raise UserError(f"{self.folder / f'{name}.key_secret'} holds no secret key: {MAKE_KEYS}")
        return public, secret

    def _load(self, name: str) -> tuple[bytes, bytes | None]:
        assert self.folder is not None
        try:
            return zmq.auth.load_certificate(self.folder / name)
        except (OSError, ValueError) as problem:
            raise UserError(f"The key file {self.folder / name} can't be read: {MAKE_KEYS}") from problem


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

    def __init__(self, endpoints: Endpoints, run: str, keys: str = "") -> None:
        self.endpoints = endpoints
        self.run = run
        self.security = Security(endpoints.host, keys)
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._samples: zmq.Socket[bytes] | None = None
        self._news: zmq.Socket[bytes] | None = None
        self._control: zmq.Socket[bytes] | None = None

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
        header, *buffers = encode_sample(sample, self.run)
        while not stopped():
            try:
                self._samples.send(header, zmq.SNDMORE | zmq.NOBLOCK)
            except zmq.Again:
                self._samples.poll(100, zmq.POLLOUT)
                continue
            # Not copied: ZeroMQ holds on to the arrays until they are sent. It never waits within a message.
            self._samples.send_multipart(buffers, copy=False)
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
                    heard.append(Posterior.decode(frames[1], self.run))
                elif len(frames) == 2:
                    heard.append(decode_event(frames[1], self.run))
            except MessageError:
                continue
        return heard

    def command(self, kind: str) -> None:
        """Tell the trainer something (``pause``, ``resume``, ``stop``) without waiting for its answer."""
        if self._control is None:
            self._control = self._connect(zmq.DEALER, self.endpoints.control)
        with suppress(zmq.Again):  # a trainer that doesn't know our keys leaves nobody to send to
            self._control.send_multipart([b"", encode_request(kind, run=self.run)], zmq.NOBLOCK)

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
