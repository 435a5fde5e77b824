# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands before a ZeroMQ socket that others connect to, and lets through what is within limits.

ZeroMQ bounds the size of a message's parts and the number of whole messages, but neither the parts of a message that
isn't whole yet, nor subscriptions, nor connections: one client could fill the memory. So the socket itself listens only
inside of this process, and the gate where clients come. It reads what they send frame by frame (ZMTP 3, RFC 23/ZMTP),
refuses what is too much by closing the connection, and lets wait what is too much for now.

Whoever connects gets a thread for each direction. What is cheap to send but not to look at is slowed down, so that a
flood of it takes little of the processor.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from ..errors import UserError
from . import addresses

GREETING = 64
"""Bytes."""
MORE, LONG, COMMAND = 1, 2, 4
"""Flags of a frame."""

LONGEST_COMMAND = 4096
HANDSHAKE = {False: 1, True: 2}
"""Commands of a client before its first message, without and with encryption."""
SEALED = 128
"""Bytes by which encryption makes a frame longer, and to spare."""

CHUNK = 1 << 17
"""Bytes that are passed on at once."""
SMALL = 4096
"""Bytes; a message of less for each of its parts is a small one."""
PAUSE = 0.0005
"""Seconds that all clients together wait for each command, each small message, and every eighth of its parts."""
ACCEPT_PAUSE = 0.001

LARGE = 4 << 20
"""Bytes; frames of more count towards what all clients together may have waiting."""
PATIENCE = 5.0
"""Seconds of silence after which a connection gives way to others, where there are too many."""
LINGER = 0.5
"""Seconds in which what was sent last may still be taken."""


@dataclass(frozen=True)
class Limits:
    """What one client may send.

    Attributes:
        largest: bytes of one message.
        parts: of one message.
        unanswered: messages that wait for their answers, each of which gets one; None where there are no answers.
        lifetime: messages, and commands other than heartbeats, of one connection; None for any number.
        connections: of all clients.
        waiting: bytes that large frames of all clients without an answer yet may have.
    """

    largest: int
    parts: int = 32
    unanswered: int | None = None
    lifetime: int | None = None
    connections: int = 64
    waiting: int = 512 << 20


class GateError(Exception):
    """A client broke a limit, or what it speaks is not ZMTP 3."""


class Gate:
    """Listens, and passes clients on to a ZeroMQ socket.

    Attributes:
        port: on which it listens.
        changed: guards what connections share, and tells that something of it has changed.
        closed: whether nobody is let in any more.
    """

    def __init__(
        self, inner: zmq.Socket[bytes], host: str, port: int, limits: Limits, *, encrypted: bool = False,
        options: tuple[str, str] = ("stream.port", "stream.host"),
    ) -> None:  # fmt: skip
        """Listen in front of a socket.

        Args:
            inner: the socket, not bound yet.
            port: 0 takes any free one.
            encrypted: whether clients speak CURVE; who has the keys is bound by sizes alone.
            options: what the user's port and host are called.

        Raises:
            UserError: if the address can't be used.
        """
        self.limits = limits
        self.encrypted = encrypted
        self.changed = threading.Condition()
        self._pace = threading.Lock()
        self._waiting = 0
        self._connections: list[Connection] = []
        self.closed = False
        self._listener = _listen(host, port, options)
        self.port = int(self._listener.getsockname()[1])
        self._inside = _Inside(inner)
        self._thread = threading.Thread(target=self._accept, name=f"gate {self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let in nobody any more; what the socket has sent before it was closed still goes out."""
        with self.changed:
            self.closed = True
            connections = list(self._connections)
            self.changed.notify_all()
        _shut(self._listener)
        self._listener.close()
        end = time.monotonic() + LINGER
        for connection in connections:
            connection.finish(max(0.0, end - time.monotonic()))
        self._thread.join(LINGER)
        self._inside.close()

    def slow_down(self, parts: int = 1) -> None:
        """Called for each command and each small message."""
        with self._pace:
            time.sleep(PAUSE * (1 + parts // 8))

    def reserve(self, connection: Connection, size: int) -> None:
        """Wait until there is room for a large frame; one that has come to a standstill gives way."""
        with self.changed:
            begun = time.monotonic()
            while self._waiting and self._waiting + size > self.limits.waiting:
                if connection.closed or self.closed:
                    raise GateError("the connection is closed")
                self.changed.wait(1.0)
                if time.monotonic() - begun > PATIENCE:
                    self._drop(lambda c: c is not connection and c.uploading)
            self._waiting += size

    def release(self, size: int) -> None:
        """Undo :meth:`reserve`; with the lock held."""
        self._waiting -= size
        self.changed.notify_all()

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        with self.changed:
            self._connections.remove(connection)
            self.changed.notify_all()

    def _drop(self, candidate: Any) -> bool:
        """Close the candidate that has been silent longest, if it was for long enough."""
        silent = [c for c in self._connections if candidate(c) and time.monotonic() - c.moved > PATIENCE]
        if silent:
            min(silent, key=lambda c: c.moved).close()
        return bool(silent)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError as problem:
                if self.closed or problem.errno not in (errno.EMFILE, errno.ENFILE, errno.ECONNABORTED):
                    return
                time.sleep(0.05)
                continue
            with self.changed:
                full = len(self._connections) >= self.limits.connections and not self._drop(lambda c: not c.closed)
                if self.closed or full or len(self._connections) > self.limits.connections:
                    client.close()
                    continue
                try:
                    self._connections.append(Connection(self, client, self._inside.connect()))
                except OSError:  # no more files may be open: better luck next time
                    client.close()
            time.sleep(ACCEPT_PAUSE)


class Connection:
    """One client."""

    def __init__(self, gate: Gate, client: socket.socket, inner: socket.socket) -> None:
        self._gate = gate
        self._client = client
        self._inner = inner
        self.moved = time.monotonic()
        """When something was last passed on."""
        self.uploading = False
        """Whether a large frame has begun that isn't whole."""
        self.closed = False
        self._unanswered: deque[int] = deque()
        self._reserved = 0
        with suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answering = True
        self._outward = threading.Thread(target=self._answer, name="gate out", daemon=True)
        self._outward.start()
        threading.Thread(target=self._serve, name="gate in", daemon=True).start()

    def close(self) -> None:
        """End it; the threads notice."""
        self.closed = True
        _shut(self._client)

    def finish(self, seconds: float) -> None:
        """End it once everything has gone out, or after ``seconds``."""
        self._outward.join(seconds)
        self.close()
        _shut(self._inner)

    def _serve(self) -> None:
        """Carry what comes from the client to the socket."""
        with suppress(GateError, OSError):
            self._let_in()
        self.close()
        gate = self._gate
        with gate.changed:
            # What it has asked is still in memory, and counts until it is answered.
            gate.changed.wait_for(lambda: not self._unanswered or not self._answering)
        _shut(self._inner)
        self._outward.join()
        self._inner.close()
        self._client.close()
        with gate.changed:
            gate.release(self._reserved + sum(self._unanswered))
        gate.gone(self)

    def _let_in(self) -> None:
        gate, limits, buffer = self._gate, self._gate.limits, memoryview(bytearray(CHUNK))
        self._greet(buffer)
        commands = messages = parts = size = 0
        while True:
            if not parts and limits.unanswered is not None and not gate.encrypted:
                self._take_turn(limits.unanswered)
            flags, length, head = _frame(self._client, buffer)
            if flags & COMMAND:
                if length > LONGEST_COMMAND or flags & MORE:
                    raise GateError("a command is too long")
                heartbeat = self._command(head, length, buffer)
                commands += 1
                messages += commands > HANDSHAKE[gate.encrypted] and not heartbeat
            else:
                if commands < HANDSHAKE[gate.encrypted]:
                    raise GateError("a message comes before the handshake")
                parts, size = parts + 1, size + length
                if parts > limits.parts or size > limits.largest + (SEALED if gate.encrypted else 0):
                    raise GateError("a message is too large")
                self._body(head, length, buffer)
                if not flags & MORE:
                    with gate.changed:
                        if limits.unanswered is not None and not gate.encrypted:
                            self._unanswered.append(self._reserved)
                        self._reserved = 0
                    messages += 1
                    if size < SMALL * parts:
                        gate.slow_down(parts)
                    parts = size = 0
            if limits.lifetime is not None and not gate.encrypted and messages > limits.lifetime:
                raise GateError("there are too many messages")

    def _greet(self, buffer: memoryview) -> None:
        """Both sides say who they are by and by, each waiting for the other."""
        done = 0
        while done < GREETING:
            count = self._client.recv_into(buffer[done:GREETING])
            if not count:
                raise GateError("nothing more comes")
            begin, done = done, done + count
            if buffer[0] != 0xFF or (done > 9 and not buffer[9] & 1) or (done > 10 and buffer[10] < 3):
                raise GateError("it is not ZMTP 3")
            self._inner.sendall(buffer[begin:done])
        self.moved = time.monotonic()

    def _take_turn(self, most: int) -> None:
        gate = self._gate
        with gate.changed:
            gate.changed.wait_for(lambda: len(self._unanswered) < most or not self._answering or self.closed)

    def _command(self, head: int, length: int, buffer: memoryview) -> bool:
        """Pass a command on; whether it is a heartbeat."""
        _exactly(self._client, buffer[head : head + length])
        self._inner.sendall(buffer[: head + length])
        self.moved = time.monotonic()
        self._gate.slow_down()
        return bytes(buffer[head : head + 5]) in (b"\4PING", b"\4PONG")

    def _body(self, head: int, length: int, buffer: memoryview) -> None:
        """Pass on a part of a message, of which the frame's head lies at the buffer's begin."""
        if length > LARGE and self._gate.limits.unanswered is not None and not self._gate.encrypted:
            self._gate.reserve(self, length)
            self._reserved += length
            self.uploading = True
        left = length
        while left or head:
            count = min(left, len(buffer) - head)
            _exactly(self._client, buffer[head : head + count])
            self._inner.sendall(buffer[: head + count])
            left, head = left - count, 0
            self.moved = time.monotonic()
        self.uploading = False

    def _answer(self) -> None:
        """Carry what comes from the socket to the client, as long as there is one."""
        with suppress(GateError, OSError):
            buffer = memoryview(bytearray(CHUNK))
            done = 0
            while done < GREETING:
                count = self._inner.recv_into(buffer[: GREETING - done])
                if not count:
                    raise GateError("nothing more comes")
                self._tell(buffer[:count])
                done += count
            while True:
                flags, left, head = _frame(self._inner, buffer)
                while left or head:
                    count = min(left, len(buffer) - head)
                    _exactly(self._inner, buffer[head : head + count])
                    self._tell(buffer[: head + count])
                    left, head = left - count, 0
                if not flags & (MORE | COMMAND):
                    with self._gate.changed:
                        if self._unanswered:
                            self._gate.release(self._unanswered.popleft())
        with self._gate.changed:
            self._answering = False
            self._gate.changed.notify_all()
        self.close()

    def _tell(self, data: memoryview) -> None:
        """To the client, unless it has gone."""
        if not self.closed:
            try:
                self._client.sendall(data)
                self.moved = time.monotonic()
            except OSError:
                self.close()


class _Inside:
    """Where the ZeroMQ socket listens: this process alone can connect, where the system can tell."""

    def __init__(self, inner: zmq.Socket[bytes]) -> None:
        self._folder: Path | None = None
        self._address: Any
        if not hasattr(socket, "AF_UNIX") or not zmq.has("ipc"):
            self._address = ("127.0.0.1", inner.bind_to_random_port("tcp://127.0.0.1"))
        elif sys.platform == "linux":  # a name that is no file's, which a killed process can't leave behind
            name = f"robot-keypoints-{secrets.token_hex(16)}"
            inner.setsockopt(zmq.IPC_FILTER_PID, os.getpid())
            inner.bind(f"ipc://@{name}")
            self._address = f"\0{name}"
        else:
            self._folder = Path(tempfile.mkdtemp(prefix="robot-keypoints-"))
            self._address = str(self._folder / "s")
            inner.bind(f"ipc://{self._address}")

    def connect(self) -> socket.socket:
        """A connection to it."""
        family = socket.AF_INET if isinstance(self._address, tuple) else socket.AF_UNIX
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.connect(self._address)
        except OSError:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Leave nothing behind."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _listen(host: str, port: int, options: tuple[str, str]) -> socket.socket:
    name = "127.0.0.1" if host == addresses.LOCALHOST else addresses.bare(host)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            None if name == "*" else name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # on Windows, where reuse means sharing
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if exclusive is None else exclusive, 1)
            made.bind(address)
            made.listen(100)
        except OSError:
            made.close()
            raise
        return made
    except (OSError, UnicodeError, OverflowError) as problem:
        if isinstance(problem, OSError) and problem.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} on {host} is in use: choose another {options[0]}, or 0 for any free one"
            ) from problem
        why = (problem.strerror if isinstance(problem, OSError) else None) or problem
        raise UserError(f"The address {host} can't be used ({why}): choose another {options[1]}") from problem


def _frame(source: socket.socket, buffer: memoryview) -> tuple[int, int, int]:
    """Flags and length of the next frame, whose head of so many bytes is in the buffer."""
    _exactly(source, buffer[:2])
    flags = buffer[0]
    if flags & ~(MORE | LONG | COMMAND):
        raise GateError("it is no frame")
    if not flags & LONG:
        return flags, buffer[1], 2
    _exactly(source, buffer[2:9])
    return flags, int.from_bytes(buffer[1:9], "big"), 9


def _exactly(source: socket.socket, target: memoryview) -> None:
    """Fill ``target``; a client that sends byte by byte must not wake us for each."""
    done = 0
    while done < len(target):
        count = source.recv_into(target[done:], 0, socket.MSG_WAITALL)
        if not count:
            raise GateError("nothing more comes")
        done += count


def _shut(of: socket.socket) -> None:
    with suppress(OSError):
        of.shutdown(socket.SHUT_RDWR)
