# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer's switchboard: one thread answers requests at any time and sends the news.

ZeroMQ's sockets belong to one thread each; this one has the ROUTER and the PUB.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import zmq

from ...core.messages.envelope import MessageError, encode_request, parse
from ...core.messages.events import Event, Posterior, encode_event

POLL_MS = 50


class Switchboard:
    """Commands come in as flags that the loop looks at; news go out through a queue."""

    def __init__(
        self, control: zmq.Socket[bytes], news: zmq.Socket[bytes], run_id: str, posterior: Posterior,
        abandoned: threading.Event,
    ) -> None:  # fmt: skip
        """Take over the sockets; :meth:`start` begins to answer.

        Args:
            abandoned: set when the parent is gone: end without reports.
        """
        self.run_id = run_id
        self.stop = threading.Event()
        self.paused = threading.Event()
        self.abandoned = abandoned
        self._control = control
        self._news = news
        self._posterior = posterior
        self._outbox: queue.SimpleQueue[list[bytes]] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="switchboard", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Send what is left and end the thread; the sockets may be closed afterwards."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def ending(self) -> bool:
        """Whether the training must end now."""
        return self.stop.is_set() or self.abandoned.is_set()

    def publish_posterior(self, posterior: Posterior) -> None:
        """Send it, and keep it for those who join later."""
        self._posterior = posterior
        self._outbox.put([b"posterior", posterior.encode(self.run_id)])

    def publish(self, event: Event) -> None:
        """Send an event."""
        self._outbox.put([b"event", encode_event(self.run_id, event)])

    def _run(self) -> None:
        while not self._closed.is_set():
            if self._control.poll(POLL_MS):
                self._answer(self._control.recv_multipart())
            self._send()
        self._send()

    def _send(self) -> None:
        while not self._outbox.empty():
            self._news.send_multipart(self._outbox.get())

    def _answer(self, frames: list[bytes]) -> None:
        if len(frames) != 3 or frames[1] != b"":
            return
        try:
            request = parse(frames[2])
        except MessageError as problem:
            answer = encode_request("refused", reason=str(problem))
        else:
            answer = self._obey(request)
        self._control.send_multipart([frames[0], b"", answer])

    def _obey(self, request: dict[str, Any]) -> bytes:
        kind = request["type"]
        if request.get("run") != self.run_id:
            return encode_request("refused", reason="the request belongs to another run")
        if kind == "hello":
            known = self._posterior
            return encode_request(
                "welcome",
                version=known.version,
                concentrations={k: list(v) for k, v in known.concentrations.items()},
                pairs=[pair.to_dict() for pair in known.pairs],
                paused=self.paused.is_set(),
            )
        if kind == "pause":
            self.paused.set()
        elif kind == "resume":
            self.paused.clear()
        elif kind == "stop":
            self.stop.set()
        else:
            return encode_request("refused", reason=f"there is no request {kind!r}")
        return encode_request("ok")
