# SPDX-License-Identifier: GPL-3.0-or-later
"""(a) One worker's samples per second, label and transport included, over bare render calls of the same scene.

Both are measured in turn, frame by frame, in one process: the worker's whole step (draw, apply, label, render,
read the pixels, encode, send to another process that decodes them) and, after another draw was applied outside the
clock, ``bpy.ops.render.render()`` alone, which writes no file. The bare call is measured twice: of the whole picture,
as anybody would call it, and of the part that the worker renders.

    python benchmarks/worker_rate.py [--frames N] [--preset fast]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.connection import Connection

import common
import numpy as np

RUN = "benchmark"


def consume(settings_toml: str, pipe: Connection) -> None:
    """Receive and decode samples until told to stop; answers with how many came."""
    from robot_keypoints.core.messages.run_sockets import Hub, SampleReceiver
    from robot_keypoints.core.messages.samples import SampleContract
    from robot_keypoints.core.settings import toml_file

    settings = toml_file.load(settings_toml)
    hub = Hub("127.0.0.1", 0)
    e = hub.endpoints
    pipe.send((e.samples, e.news, e.control))
    size = settings.render
    contract = SampleContract.of(RUN, size.width, size.height, len(settings.keypoints), settings.scene_model())
    receiver = SampleReceiver(hub.samples, contract, print)
    count = 0
    while not pipe.poll():
        count += receiver.receive(0.05) is not None
    pipe.send(count)
    hub.close()


def measure(preset: str, width: int, height: int, samples: int, frames: int) -> dict[str, float]:
    """Milliseconds of each, and the ratios of their rates."""
    import bpy
    from robot_keypoints.addon.worker import process as worker_process, scene_builder
    from robot_keypoints.core import run_folder
    from robot_keypoints.core.messages.run_sockets import Endpoints, Link
    from robot_keypoints.core.settings import toml_file

    folder = common.scratch()
    settings = common.ur10_settings(preset)
    render = replace(settings.render, width=width, height=height, samples=samples)
    settings = replace(settings, render=render)
    toml_file.save(settings, folder / run_folder.SETTINGS)
    scene_builder.build_scene(settings, folder)
    place, renderer = worker_process.prepare(folder / run_folder.SCENE, settings)
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    consumer = context.Process(target=consume, args=(str(folder / run_folder.SETTINGS), theirs), daemon=True)
    consumer.start()
    link = Link(Endpoints("127.0.0.1", *ours.recv()), RUN)
    model, rng = settings.scene_model(), np.random.default_rng(0)
    ours_s, whole_s, part_s = [], [], []
    scene = bpy.context.scene
    sender = ThreadPoolExecutor(1)
    sent = sender.submit(bool, True)
    for index in range(-3, frames):
        start = time.perf_counter()
        sample = worker_process.make_sample(place, renderer, model, rng, 0, max(index, 0))
        sent.result()
        sent = sender.submit(link.send, sample, lambda: False)
        middle = time.perf_counter()
        place.apply(model.sample(rng).values)
        renderer.aim()
        applied = time.perf_counter()
        bpy.ops.render.render()
        part = time.perf_counter()
        place.apply(model.sample(rng).values)
        scene.render.use_border = False
        again = time.perf_counter()
        bpy.ops.render.render()
        end = time.perf_counter()
        scene.render.use_border = True
        if index >= 0:
            ours_s.append(middle - start)
            part_s.append(part - applied)
            whole_s.append(end - again)
    sender.shutdown()
    time.sleep(0.5)
    ours.send("stop")
    received = ours.recv()
    consumer.join()
    link.close()
    renderer.close()
    assert received == frames + 3, f"{received} of {frames + 3} samples arrived"
    worker, whole, cropped = (1e3 * float(np.mean(t)) for t in (ours_s, whole_s, part_s))
    return {"worker": worker, "whole": whole, "part": cropped}


def main() -> None:
    """Measure at both sizes and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--preset", default="fast")
    options = parser.parse_args()
    report = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender prints several lines per frame
    for width, height, samples in ((160, 120, 2), (320, 240, 4), (640, 480, 4)):
        count = max(10, options.frames * 160 * 120 * 2 // (width * height * samples))
        ms = measure(options.preset, width, height, samples, count)
        print(
            f"{options.preset}, {width}×{height}, {samples} samples per pixel: worker {ms['worker']:.1f} ms a sample; "
            f"bare render {ms['whole']:.1f} ms of the whole picture ({ms['whole'] / ms['worker']:.2f} of its rate), "
            f"{ms['part']:.1f} ms of the part that the worker renders ({ms['part'] / ms['worker']:.2f})",
            file=report,
            flush=True,
        )


if __name__ == "__main__":
    main()
