# SPDX-License-Identifier: GPL-3.0-or-later
"""(b) The sample stream at 640×480 RGBA over the same bytes copied through a plain ZeroMQ PUSH/PULL pair.

Sender and receiver are processes of their own in both cases. Ours encodes, sends, receives, validates and decodes;
the plain pair sends one buffer of the image's size and the receiver copies it into a batch, as ours is copied too.

    python benchmarks/stream_rate.py [--count N] [--rounds R]
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

import common
import numpy as np
import zmq
from robot_keypoints.core.messages.run_sockets import QUEUE, Endpoints, Hub, Link, SampleReceiver
from robot_keypoints.core.messages.samples import Sample, SampleContract

WIDTH, HEIGHT, RUN = 640, 480, "benchmark"


def send_ours(ports: tuple[int, int, int], count: int) -> None:
    """Push ``count`` samples as a worker does."""
    settings = common.ur10_settings()
    joints = len(settings.keypoints)
    latents = settings.scene_model().sample(np.random.default_rng(0))
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 4), np.uint8)
    keypoints = np.random.default_rng(1).uniform(0, 400, (joints, 2))
    link = Link(Endpoints("127.0.0.1", *ports), RUN)
    for sequence in range(count):
        sample = Sample(
            image, keypoints, np.ones(joints), np.full(joints, 2), latents, 0, 0, sequence, np.eye(3), np.eye(4)
        )
        link.send(sample, lambda: False)
    time.sleep(60)


def send_plain(port: int, count: int) -> None:
    """Push ``count`` buffers."""
    socket = zmq.Context().socket(zmq.PUSH)
    socket.sndhwm = QUEUE
    socket.connect(f"tcp://127.0.0.1:{port}")
    buffer = np.random.default_rng(0).integers(0, 255, HEIGHT * WIDTH * 4, np.uint8)
    for _ in range(count):
        socket.send(buffer.data)
    time.sleep(60)


def time_ours(count: int) -> float:
    """Samples per second through our stream into a batch buffer."""
    settings = common.ur10_settings()
    hub = Hub("127.0.0.1", 0)
    e = hub.endpoints
    contract = SampleContract.of(RUN, WIDTH, HEIGHT, len(settings.keypoints), settings.scene_model())
    receiver = SampleReceiver(hub.samples, contract, print)
    batch = np.empty((8, HEIGHT, WIDTH, 4), np.uint8)

    def take(index: int) -> None:
        sample = receiver.receive(60)
        assert sample is not None
        batch[index % 8] = sample.image

    rate = _time(send_ours, ((e.samples, e.news, e.control), count), take, count)
    hub.close()
    return rate


def time_plain(count: int) -> float:
    """Buffers per second through a bare pair into the same batch buffer."""
    context = zmq.Context()
    socket = context.socket(zmq.PULL)
    socket.rcvhwm = QUEUE
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    batch = np.empty((8, HEIGHT * WIDTH * 4), np.uint8)

    def take(index: int) -> None:
        batch[index % 8] = np.frombuffer(socket.recv(copy=False).buffer, np.uint8)

    rate = _time(send_plain, (port, count), take, count)
    context.destroy(linger=0)
    return rate


def _time(target: object, arguments: tuple[object, ...], take: object, count: int) -> float:
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
    process.start()
    for index in range(20):
        take(index)  # type: ignore[operator]
    start = time.perf_counter()
    for index in range(20, count):
        take(index)  # type: ignore[operator]
    rate = (count - 20) / (time.perf_counter() - start)
    process.terminate()
    process.join()
    return rate


def main() -> None:
    """Measure both in turn and print the ratio of the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pairs = [(time_ours(options.count), time_plain(options.count)) for _ in range(options.rounds)]
    ours, plain = np.median(np.array(pairs), axis=0)
    ratios = [a / b for a, b in pairs]
    print(
        f"640×480 RGBA: ours {ours:.0f} samples/s, plain PUSH/PULL {plain:.0f}; "
        f"ratio {np.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f} in {len(pairs)} rounds (goal 0.8)"
    )


if __name__ == "__main__":
    main()
