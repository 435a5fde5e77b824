# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of headless Blender in a run, and one of them whole: the worker, which renders samples.

A worker of a training renders without end; one of a data set renders the draws that it is given, each from random
numbers of its own.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ...core import run_folder
from ...core.errors import UserError
from ...core.messages.envelope import MessageError, encode_request
from ...core.messages.events import Posterior, decode_pairs
from ...core.messages.run_sockets import Endpoints, Link
from ...core.messages.samples import Sample
from ...core.processes.lifeline import end_with_parent
from ...core.scene.scene_model import SceneModel
from ...core.settings import toml_file
from ...core.settings.schema import Settings
from ...core.step_times import Stopwatch
from ..robot import rig
from ..stage import prior_support
from ..stage.stage import Stage
from . import graphics_cards, labels, level_of_detail, obstruction
from .instance_labels import Details
from .renderer import Renderer
from .scene_builder import build_scene, open_scene

WELCOME_DEADLINE = 60.0
WORKER_NICENESS = 5
"""Rendering leaves the processor to the trainer, which can use an image again, and to the user's own windows."""


def main(arguments: Sequence[str]) -> int:
    """``scene``, ``worker`` or ``devices`` with their options; 0 when done, 2 on a user's mistake, 1 on a fault."""
    parser = argparse.ArgumentParser(prog="robot_keypoints")
    jobs = parser.add_subparsers(dest="job", required=True)
    for name in ("scene", "worker"):
        job = jobs.add_parser(name)
        job.add_argument("--run", type=Path, required=True)
        if name == "scene":
            job.add_argument("--complete", action="store_true", help="fill in settings.toml, and write robots.json")
        if name == "worker":
            job.add_argument("--identity", required=True)
            job.add_argument("--host", required=True)
            job.add_argument("--endpoints", required=True)
            job.add_argument("--index", type=int, required=True)
            job.add_argument("--restarts", type=int, default=0)
            job.add_argument("--adaptive", action="store_true")
            job.add_argument("--draws", type=Path, help="JSON file: a seed, and the numbers of the samples to render")
    jobs.add_parser("devices", help="name the graphics cards that Cycles can render on")
    try:
        options = parser.parse_args(list(arguments))
    except SystemExit as usage:
        return int(usage.code or 0)
    if options.job == "devices":
        for card in graphics_cards.enable():
            print(f"graphics card: {card}", flush=True)
        return 0
    try:
        settings = toml_file.load(options.run / run_folder.SETTINGS)
        if options.job == "scene":
            left_out: tuple[str, ...] = ()
            if not (options.run / run_folder.SCENE).exists():
                left_out = build_scene(settings, options.run, complete=options.complete)
            warn_of_obstruction(options.run, left_out)
        else:
            render_samples(options, settings)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr, flush=True)
        return 2
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def warn_of_obstruction(folder: Path, left_out: tuple[str, ...]) -> None:
    """Warn of what hides the robots in a user's own scene, and keep what was found in the run's folder.

    Args:
        left_out: names of objects that were left out already.

    Raises:
        UserError: if the scene lacks what the settings name.
    """
    settings = toml_file.load(folder / run_folder.SETTINGS)
    if settings.robot.kind != "armature":
        return  # nothing stands there but what is ours
    stage = open_stage(folder / run_folder.SCENE, settings)
    stage.camera.render_at(settings.render.width, settings.render.height)
    found = replace(obstruction.check_draws(stage), left_out=left_out)
    found.write(folder)
    for sentence in found.sentences():
        print(f"warning: {sentence}", file=sys.stderr)


def render_samples(options: Any, settings: Settings) -> None:
    """Render samples until the parent is gone, or those that were asked for.

    Raises:
        UserError: if the scene lacks what the settings name, or the trainer does not answer.
    """
    if hasattr(os, "nice"):
        os.nice(WORKER_NICENESS)
    # Blender prints several lines per frame.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    samples, news, control = (int(p) for p in options.endpoints.split(","))
    link = Link(Endpoints(options.host, samples, news, control), options.identity, settings.stream.keys)
    stage, renderer = prepare(options.run / run_folder.SCENE, settings)
    # The collector need not go through all of Blender's Python again and again.
    gc.freeze()
    details = Details.of_stage(stage) if options.draws is not None else None
    stopped = threading.Event()
    end_with_parent(stopped.set)
    try:
        model = settings.scene_model()
        if options.adaptive:
            link.subscribe(b"posterior")
            model = _welcome(link, model)
        # The last sample is encoded and sent while the next one is rendered.
        with ThreadPoolExecutor(1) as sender:
            sent = sender.submit(bool, True)
            for sequence, rng in draws(options, settings):
                if stopped.is_set():
                    break
                model = _latest(link, model)
                sample = make_sample(stage, renderer, model, rng, options.index, sequence, details=details)
                if not sent.result():
                    break
                sample = replace(sample, seconds={**sample.seconds, **link.sending})
                sent = sender.submit(link.send, sample, stopped.is_set)
        # What was sent is not yet taken: whoever asked for it says when it is.
        stopped.wait()
    finally:
        renderer.close()
        link.close()
        # Blender as a library waits for ever at its end for what is frozen.
        gc.unfreeze()


def draws(options: Any, settings: Settings) -> Iterator[tuple[int, np.random.Generator]]:
    """The number of each sample to render, and where its random numbers come from.

    A sample of a data set has a generator of its own, so it does not matter who renders it, and after which other.
    """
    if options.draws is None:
        rng = np.random.default_rng([settings.training.seed, options.index, options.restarts])
        yield from ((number, rng) for number in itertools.count())
        return
    task = json.loads(options.draws.read_text(encoding="utf-8"))
    for number in task["draws"]:
        yield number, np.random.default_rng([task["seed"], number])


def prepare(path: Path, settings: Settings) -> tuple[Stage, Renderer]:
    """Open a run's scene, with its level of detail, ready for samples.

    Raises:
        UserError: if the file is missing or the scene lacks what the settings name.
    """
    stage = open_stage(path, settings)
    scene = stage.scene
    stage.light.world.lay_behind()
    if settings.render.silhouette:
        meshes = [m for robot in stage.robots.values() for m in rig.robot_meshes(robot.armature)]
        pixels = level_of_detail.smallest_pixels(stage, settings, meshes)
        for mesh, size in zip(meshes, pixels, strict=True):
            level_of_detail.simplify(mesh, settings.render.silhouette * size)
    if settings.render.engine == "cycles":
        level_of_detail.keep_geometry(scene)
    renderer = Renderer(
        scene, settings.render, settings.workers.threads, stage.camera, stage.light.world,
        denoise=prior_support.denoised(settings),
    )  # fmt: skip
    return stage, renderer


def open_stage(path: Path, settings: Settings) -> Stage:
    """Open a run's scene, ready to be drawn and labelled.

    Raises:
        UserError: if the file is missing or the scene lacks what the settings name.
    """
    open_scene(path)
    scene = bpy.context.scene
    stage = Stage(scene, rig.find(scene, settings.robot.armature), settings)
    stage.seen.in_viewport_too()
    return stage


def make_sample(
    stage: Stage, renderer: Renderer, model: SceneModel, rng: np.random.Generator, worker: int, sequence: int,
    *, details: Details | None = None,
) -> Sample:  # fmt: skip
    """Draw the latent variables, apply them, label and render: one sample (x, b*, h).

    Args:
        details: for the labels of every robot's links, too.
    """
    watch = Stopwatch()
    latents = stage.draw_rules.sample(model, rng)
    watch.lap("draw")
    stage.apply(latents.values)
    watch.lap("pose")
    truth = labels.label(stage, details)
    watch.lap("label")
    image = renderer.render(latents.seed)
    watch.lap("render")
    return Sample(
        image=image,
        keypoints=truth.keypoints,
        depths=truth.depths,
        visibility=truth.visibility,
        latents=latents,
        version=model.version,
        worker=worker,
        sequence=sequence,
        camera_matrix=truth.camera_matrix,
        base_in_camera=truth.base_in_camera,
        distortion=truth.distortion,
        instances=truth.instances,
        mask=truth.mask,
        seconds=watch.seconds,
    )


def _welcome(link: Link, model: SceneModel) -> SceneModel:
    """The posterior as it stands when an adapting worker joins (a restarted one joins late)."""
    answer = link.request([encode_request("hello", run=link.run_id, role="worker")], WELCOME_DEADLINE)
    if answer is None or answer.get("type") != "welcome":
        raise UserError("The trainer did not welcome this worker: look at the trainer's log")
    try:
        return model.with_concentrations(answer["concentrations"], answer["version"], decode_pairs(answer))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as problem:
        raise UserError(
            f"The trainer's posterior does not fit this scene ({problem}): start the run again"
        ) from problem


def _latest(link: Link, model: SceneModel) -> SceneModel:
    for news in link.news():
        if isinstance(news, Posterior) and news.version > model.version:
            try:
                model = model.with_concentrations(news.concentrations, news.version, news.pairs)
            except ValueError as problem:
                raise MessageError(f"a posterior does not fit this scene: {problem}") from problem
    return model
