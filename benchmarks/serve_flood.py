# SPDX-License-Identifier: GPL-3.0-or-later
"""What a flood of requests leaves of others' rates at a model server, and what strangers make of its memory.

A server publishes what it finds in pictures, and a client asks it politely: one request, one answer. Then the same
beside clients that send requests as fast as they can, and never wait for answers; each should keep half of its rate, or
of what is left to requests. Memory is the server's growth while a stranger sends an unfinished message of empty parts,
subscriptions, and large images by many connections.

    python benchmarks/serve_flood.py [--seconds S] [--floods N]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import common
import numpy as np
import zmq
from PIL import Image
from robot_keypoints.core.messages.envelope import encode_request
from robot_keypoints.core.messages.pose_publishing import PoseListener
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import LAUNCHER

WIDTH, HEIGHT = 320, 240
PICTURES = 100_000
DEADLINE = 300.0


class Server:
    """``serve`` in a process of its own, with a source that lasts."""

    def __init__(self, folder: Path, *, source: bool) -> None:
        picture, ready = folder / "picture.png", folder / "ready.json"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(picture)
        ready.unlink(missing_ok=True)
        frames = folder / "frames"
        if source and not frames.exists():
            frames.mkdir()
            for number in range(PICTURES // 100):
                os.link(picture, frames / f"{number:06}.png")
        command = [sys.executable, str(LAUNCHER), "serve", "ur10", "--ready", str(ready), "--publish", "0"]
        pictures = ["--source", *[str(frames)] * 100] if source else []
        one_thread = {"OMP_NUM_THREADS": "1"}  # two would wait for each other on a machine that does something else
        self.child = Child("serve", [*command, *pictures], folder / "serve.log", one_thread)
        begun = time.monotonic()
        while not ready.exists():
            if self.child.exit_code is not None or time.monotonic() - begun > DEADLINE:
                raise SystemExit("\n".join(self.child.last_words()))
            time.sleep(0.05)
        document = json.loads(ready.read_text(encoding="utf-8"))
        self.port, self.published = document["port"], document["publish"]

    def memory(self) -> float:
        """Megabytes."""
        pages = Path(f"/proc/{self.child.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def ask(port: int, halt: threading.Event, answers: list[float], *, polite: bool) -> None:
    """One client, which notes when its answers come."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.sndhwm = 4
    dealer.connect(f"tcp://127.0.0.1:{port}")
    header = encode_request("predict", id=1, encoding="rgb", width=WIDTH, height=HEIGHT)
    image = bytes(WIDTH * HEIGHT * 3)
    while not halt.is_set():
        if dealer.poll(20, zmq.POLLOUT):
            dealer.send_multipart([b"", header, image])
        while not halt.is_set() and dealer.poll(100 if polite else 0):
            dealer.recv_multipart()
            answers.append(time.monotonic())
            if polite:
                break
    context.destroy(linger=0)


def rates(server: Server, floods: int, seconds: float, *, polite: bool) -> tuple[float, float]:
    """Documents from the source, and polite answers, a second."""
    halt, answers, ignored = threading.Event(), list[float](), list[float]()
    clients = [
        threading.Thread(target=ask, args=(server.port, halt, ignored), kwargs={"polite": False}) for _ in range(floods)
    ]
    if polite:
        clients.append(threading.Thread(target=ask, args=(server.port, halt, answers), kwargs={"polite": True}))
    for client in clients:
        client.start()
    listener = PoseListener("127.0.0.1", server.published)
    time.sleep(2.0)  # queues are full
    answers.clear()
    begin, pictures = time.monotonic(), 0
    while (left := begin + seconds - time.monotonic()) > 0:
        heard = listener.newest(left)
        pictures += heard is not None and heard.source != "request"
    counted = len(answers)
    halt.set()
    listener.close()
    for client in clients:
        client.join()
    return pictures / seconds, counted / seconds


def stranger(port: int, kind: bytes) -> socket.socket:
    """A connection that speaks ZMTP 3, after its handshake."""
    made = socket.create_connection(("127.0.0.1", port))
    made.settimeout(2.0)
    made.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
    body = b"\5READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    made.sendall(bytes([4, len(body)]) + body)
    made.recv(64, socket.MSG_WAITALL)
    return made


def pour(connection: socket.socket, chunk: bytes, total: int) -> None:
    """Send until it is cut off, or taken no more."""
    with suppress(OSError):
        for _ in range(0, total, len(chunk)):
            connection.sendall(chunk)


def growth(server: Server, what: str) -> float:
    """Megabytes that the server grows by at most under one kind of attack."""
    before, halt, sizes = server.memory(), threading.Event(), [0.0]

    def watch() -> None:
        while not halt.wait(0.02):
            sizes.append(server.memory() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    connections = {"unfinished": unfinished, "subscriptions": subscriptions, "images": images}[what](server)
    time.sleep(5.0)
    for connection in connections:
        connection.close()
    halt.set()
    watcher.join()
    return max(sizes)


def unfinished(server: Server) -> list[socket.socket]:
    """16 million empty parts of one message."""
    connection = stranger(server.port, b"DEALER")
    pour(connection, b"\1\0" * 50_000, 32 << 20)
    return [connection]


def subscriptions(server: Server) -> list[socket.socket]:
    """32 MB of them, all different."""
    connection = stranger(server.published, b"SUB")
    for begin in range(0, 800_000, 1000):
        topics = (f"\1{number:038}".encode() for number in range(begin, begin + 1000))
        pour(connection, b"".join(b"\0" + bytes([len(t)]) + t for t in topics), 1)
    return [connection]


def images(server: Server) -> list[socket.socket]:
    """Twelve of 192 MB at once."""
    header = encode_request("predict", id=1, encoding="rgb", width=8192, height=8192)
    size = 3 << 26
    begin = b"\1\0\3" + len(header).to_bytes(8, "big") + header + b"\2" + size.to_bytes(8, "big")
    message = begin + bytes(size)
    connections = [stranger(server.port, b"DEALER") for _ in range(12)]
    threads = [threading.Thread(target=pour, args=(c, message, len(message))) for c in connections]
    for connection in connections:
        connection.settimeout(20.0)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return connections


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--floods", type=int, default=3)
    options = parser.parse_args()
    folder = common.scratch()
    server = Server(folder, source=True)
    alone, _ = rates(server, 0, options.seconds, polite=False)
    flooded, _ = rates(server, options.floods, options.seconds, polite=False)
    print(
        f"source: {alone:.1f} a second alone, {flooded:.1f} beside {options.floods} floods: kept {flooded / alone:.0%}"
    )
    server.child.kill()
    server = Server(folder, source=False)
    _, alone = rates(server, 0, options.seconds, polite=True)
    _, flooded = rates(server, options.floods, options.seconds, polite=True)
    print(f"polite client: {alone:.1f} answers/s alone, {flooded:.1f} beside the floods: kept {flooded / alone:.0%}")
    server.child.kill()
    for what in ("unfinished", "subscriptions", "images"):
        server = Server(folder, source=False)
        print(f"{what}: the server grows by {growth(server, what):.0f} MB")
        server.child.kill()


if __name__ == "__main__":
    main()
