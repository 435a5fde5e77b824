# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws the predicted keypoints over the camera's frame in the viewport."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import blf
import bpy
import numpy as np
from bpy_extras.view3d_utils import location_3d_to_region_2d

from ...core.messages.prediction import Prediction
from ..base import plots
from ..prediction import follow_video, model_server, pose_from_photo
from ..services import contact_sheet, quick_start, scene_check

FONT = 0
SEGMENTS = 28
AXES = ((0.9, 0.2, 0.2), (0.3, 0.8, 0.2), (0.25, 0.45, 1.0))
"""Colours of x, y and z."""
SIGMAS = 2.0
"""Radius of the uncertainty ellipses, in standard deviations: 86 % of a normal distribution in the plane."""

FAINTEST = 0.3
"""Opacity of a keypoint without any confidence."""

Point = tuple[float, float]
Box = tuple[float, float, float, float]
_handle: Any = None


@dataclass(frozen=True)
class Frame:
    """Where the picture lies in a region: its bottom left corner and its size, in pixels of the region."""

    x: float
    y: float
    width: float
    height: float

    def place(self, u: float, v: float, width: int, height: int) -> Point:
        """Region coordinates of pixel (u, v) of a picture of ``width × height``; pixel centres are whole numbers."""
        return (
            self.x + (u + 0.5) / width * self.width,
            self.y + (1.0 - (v + 0.5) / height) * self.height,
        )

    def fitted(self, width: int, height: int) -> Frame:
        """The part of the frame that a picture of these proportions fills when it is fitted into it."""
        scale = min(self.width / width, self.height / height)
        w, h = width * scale, height * scale
        return Frame(self.x + (self.width - w) / 2, self.y + (self.height - h) / 2, w, h)


def camera_frame(context: bpy.types.Context) -> Frame | None:
    """The camera's frame in the region that is being drawn; None unless it looks through the camera."""
    view, camera = context.region_data, context.scene.camera
    if view is None or view.view_perspective != "CAMERA" or camera is None or camera.type != "CAMERA":
        return None
    if context.space_data.use_local_camera and context.space_data.camera != camera:
        return None
    matrix = camera.matrix_world.normalized()
    corners = [
        location_3d_to_region_2d(context.region, view, matrix @ corner)
        for corner in camera.data.view_frame(scene=context.scene)
    ]
    if any(c is None for c in corners):
        return None
    xs, ys = [c.x for c in corners], [c.y for c in corners]
    return Frame(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def ellipse(covariance: Sequence[Sequence[float]], sigmas: float = SIGMAS) -> list[Point]:
    """A closed outline around the origin, in the covariance's own pixels, v still downwards."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, dtype=np.float64))
    axes = vectors * np.sqrt(np.maximum(values, 0.0)) * sigmas
    angles = np.linspace(0, 2 * math.pi, SEGMENTS + 1)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ axes.T
    return [(float(x), float(y)) for x, y in points]


def _draw() -> None:
    context = bpy.context
    shown = model_server.SERVICE.prediction
    if shown is None or model_server.SERVICE.shown_for != context.scene.robot_keypoints.overlay.source:
        return
    frame = camera_frame(context)
    if frame is None:
        return
    render = context.scene.render
    if model_server.SERVICE.shown_for == "IMAGE" and render.pixel_aspect_x == render.pixel_aspect_y:
        frame = frame.fitted(shown.width, shown.height)
    _draw_prediction(context, frame, shown)


def _draw_prediction(context: bpy.types.Context, frame: Frame, shown: Prediction) -> None:
    import gpu

    options = context.scene.robot_keypoints.overlay
    scale = context.preferences.system.ui_scale
    places = {k.name: frame.place(k.u, k.v, shown.width, shown.height) for k in shown.keypoints}
    colours = {
        k.name: (
            *plots.keypoint_colour(i, len(shown.keypoints))[:3],
            opacity(k.confidence, options.threshold),
        )
        for i, k in enumerate(shown.keypoints)
    }
    gpu.state.blend_set("ALPHA")
    try:
        if options.chain:
            _draw_chain(shown, places, colours, 3.0 * scale)
        found = pose_from_photo.latest()
        if options.pose and found is not None:
            _draw_pose(frame, shown, found, scale)
        if options.uncertainty:
            for k in shown.keypoints:
                if k.covariance is not None:
                    _draw_ellipse(frame, shown, k.covariance, places[k.name], colours[k.name], 1.5 * scale)
        if options.points:
            for k in shown.keypoints:
                _disc(places[k.name], (options.size + 1.5) * scale, (0.0, 0.0, 0.0, 0.75 * colours[k.name][3]))
                _disc(places[k.name], options.size * scale, colours[k.name])
        if options.names or options.confidence:
            _draw_labels(shown, places, colours, options, scale)
    finally:
        gpu.state.blend_set("NONE")


def opacity(confidence: float, threshold: float) -> float:
    """How opaque a keypoint is drawn: fully from a confidence of ``threshold`` on, below it the fainter the lower."""
    if confidence >= threshold:
        return 1.0
    return FAINTEST + (1.0 - FAINTEST) * max(confidence, 0.0) / threshold


def _draw_chain(shown: Prediction, places: dict[str, Point], colours: dict[str, plots.Colour], width: float) -> None:
    links = [(a, b) for a, b in shown.skeleton if a in places and b in places]
    for a, b in links:
        alpha = min(colours[a][3], colours[b][3])
        _line([places[a], places[b]], [(0, 0, 0, 0.6 * alpha)] * 2, width + 2.0)
        _line([places[a], places[b]], [(*colours[a][:3], 0.9 * alpha), (*colours[b][:3], 0.9 * alpha)], width)


def _draw_ellipse(
    frame: Frame, shown: Prediction, covariance: Any, centre: Point, colour: plots.Colour, width: float
) -> None:
    sx, sy = frame.width / shown.width, frame.height / shown.height
    outline = [(centre[0] + x * sx, centre[1] - y * sy) for x, y in ellipse(covariance)]
    _line(outline, [(*colour[:3], 0.8 * colour[3])] * len(outline), width)


def _draw_pose(frame: Frame, shown: Prediction, found: pose_from_photo.Found, scale: float) -> None:
    """The base's axes, and how uncertain the pose leaves each link."""
    for axis, colour in zip(found.axes, AXES, strict=False):
        places = [frame.place(u, v, shown.width, shown.height) for u, v in axis.tolist() if math.isfinite(u + v)]
        if len(places) > 1:
            _line(places, [(0.0, 0.0, 0.0, 0.6)] * len(places), 5.0 * scale)
            _line(places, [(*colour, 1.0)] * len(places), 3.0 * scale)
    for blur in found.blurs:
        centre = frame.place(blur.u, blur.v, shown.width, shown.height)
        for tone, width in (((0.0, 0.0, 0.0, 0.6), 3.0), ((1.0, 1.0, 1.0, 1.0), 1.2)):
            _draw_ellipse(frame, shown, blur.covariance, centre, tone, width * scale)


def _draw_labels(
    shown: Prediction, places: dict[str, Point], colours: dict[str, plots.Colour], options: Any, scale: float
) -> None:
    blf.size(FONT, 12 * scale)
    blf.enable(FONT, blf.SHADOW)
    blf.shadow(FONT, 5, 0.0, 0.0, 0.0, 0.9)
    taken: list[Box] = []
    for k in shown.keypoints:
        words = [k.name] if options.names else []
        if options.confidence:
            words.append(f"{100 * k.confidence:.0f} %")
        text = "  ".join(words)
        width, height = blf.dimensions(FONT, text)
        box = free_place(places[k.name], width, height, (options.size + 5) * scale, taken)
        taken.append(box)
        blf.position(FONT, box[0], box[1], 0)
        blf.color(FONT, 1.0, 1.0, 1.0, colours[k.name][3])
        blf.draw(FONT, text)
    blf.disable(FONT, blf.SHADOW)


def free_place(point: Point, width: float, height: float, offset: float, taken: Sequence[Box]) -> Box:
    """Where a label beside ``point`` covers no other one: right, left, above or below it; right if nowhere is free."""
    x, y = point
    right, left, middle = x + offset, x - offset - width, y - height / 2
    corners = [(right, middle), (left, middle), (x - width / 2, y + offset), (x - width / 2, y - offset - height)]
    corners += [(right, middle + offset), (right, middle - offset), (left, middle + offset), (left, middle - offset)]
    for bx, by in corners:
        box = (bx, by, bx + width, by + height)
        if not any(_overlap(box, other) for other in taken):
            return box
    return (right, middle, right + width, middle + height)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _line(points: Sequence[Point], colours: Sequence[Sequence[float]], width: float) -> None:
    import gpu
    from gpu_extras.batch import batch_for_shader

    shader = gpu.shader.from_builtin("POLYLINE_SMOOTH_COLOR")
    batch = batch_for_shader(shader, "LINE_STRIP", {"pos": [(x, y, 0.0) for x, y in points], "color": list(colours)})
    shader.bind()
    shader.uniform_float("viewportSize", gpu.state.viewport_get()[2:])
    shader.uniform_float("lineWidth", width)
    batch.draw(shader)


def _disc(centre: Point, radius: float, colour: Sequence[float]) -> None:
    """A filled circle with a soft edge of one pixel."""
    import gpu
    from gpu_extras.batch import batch_for_shader

    x, y = centre
    inner, outer = max(radius - 0.5, 0.1), radius + 0.5
    ring = [(math.cos(2 * math.pi * i / SEGMENTS), math.sin(2 * math.pi * i / SEGMENTS)) for i in range(SEGMENTS)]
    positions = [(x, y, 0.0)]
    positions += [(x + inner * c, y + inner * s, 0.0) for c, s in ring]
    positions += [(x + outer * c, y + outer * s, 0.0) for c, s in ring]
    colours = [tuple(colour)] * (1 + SEGMENTS) + [(*colour[:3], 0.0)] * SEGMENTS
    indices = []
    for i in range(SEGMENTS):
        a, b = 1 + i, 1 + (i + 1) % SEGMENTS
        indices += [(0, a, b), (a, b, SEGMENTS + b), (a, SEGMENTS + b, SEGMENTS + a)]
    shader = gpu.shader.from_builtin("SMOOTH_COLOR")
    batch = batch_for_shader(shader, "TRIS", {"pos": positions, "color": colours}, indices=indices)
    shader.bind()
    batch.draw(shader)


@bpy.app.handlers.persistent
def _scene_changed(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    if model_server.SERVICE.live and len(depsgraph.updates):
        model_server.SERVICE.scene_changed()


@bpy.app.handlers.persistent
def _file_loaded(*_: Any) -> None:
    follow_video.SERVICE.stop()
    pose_from_photo.forget()
    model_server.SERVICE.clear()
    contact_sheet.SERVICE.forget()
    scene_check.SERVICE.forget()
    quick_start.SERVICE.forget()
    bpy.context.window_manager.robot_keypoints.live = False


def register() -> None:
    """Draw from now on, and notice changes of the scene."""
    global _handle
    if not bpy.app.background:
        _handle = bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")
    bpy.app.handlers.depsgraph_update_post.append(_scene_changed)
    bpy.app.handlers.load_post.append(_file_loaded)


def unregister() -> None:
    """Stop drawing."""
    global _handle
    if _handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handle, "WINDOW")
        _handle = None
    for handlers, own in (
        (bpy.app.handlers.depsgraph_update_post, _scene_changed),
        (bpy.app.handlers.load_post, _file_loaded),
    ):
        if own in handlers:
            handlers.remove(own)
