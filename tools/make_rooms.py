# SPDX-License-Identifier: GPL-3.0-or-later
"""Rooms for the pictures of places: laboratories and workshops with cabinets, shelves, benches, chairs, pipes, windows
and other robots' arms, built of prisms by chance and path-traced all around.

    python tools/make_rooms.py [NUMBER …] [--samples 12]    # writes assets/places/room_NN.jpg

Room N follows from its number. It is kept as :mod:`trainer.images.places` reads it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from robot_keypoints.core import srgb
from robot_keypoints.trainer.images import places

Floats = NDArray[np.float64]
Size = tuple[float, float, float]
Colours = tuple[tuple[float, float, float], ...]
Place = Callable[[float, float, float], Floats]
"""From metres along a wall, out of it and up to a point of the room."""

SHIPPED = (1, 2, 3, 5, 7, 8)
WIDTH = 1536
QUALITY = 85
SIDES = 20
"""Of a round prism."""

WALLS: Colours = ((0.92, 0.92, 0.9), (0.86, 0.87, 0.88), (0.78, 0.79, 0.8), (0.85, 0.8, 0.7), (0.7, 0.76, 0.8))
FLOORS: Colours = ((0.6, 0.61, 0.62), (0.4, 0.41, 0.43), (0.55, 0.45, 0.33), (0.7, 0.69, 0.66), (0.3, 0.35, 0.42))
FURNITURE: Colours = (
    (0.92, 0.92, 0.9), (0.75, 0.76, 0.78), (0.45, 0.46, 0.48), (0.1, 0.1, 0.11), (0.72, 0.58, 0.42), (0.5, 0.36, 0.24),
    (0.62, 0.72, 0.8),
)  # fmt: skip
SKINS: Colours = (
    (0.35, 0.36, 0.38), (0.85, 0.86, 0.87), (0.62, 0.75, 0.82), (0.85, 0.45, 0.1), (0.15, 0.15, 0.16),
    (0.85, 0.75, 0.1),
)  # fmt: skip
BOLD = 0.15
"""How often a thing has any colour at all."""


@dataclass
class Scene:
    """Corners ``(3,)`` in the room (z up, the middle of the floor is the origin, metres), and for each face the indices
    of its corners, its linear colour, the light that it gives, and how rough it is."""

    corners: list[Floats] = field(default_factory=list)
    faces: list[tuple[int, ...]] = field(default_factory=list)
    colours: list[Floats] = field(default_factory=list)
    glow: list[float] = field(default_factory=list)
    roughness: list[float] = field(default_factory=list)

    def face(self, corners: Floats, colour: Floats, glow: float = 0.0, roughness: float = 0.6) -> None:
        """A flat convex face ``(N, 3)``."""
        first = len(self.corners)
        self.corners += list(corners)
        self.faces.append(tuple(range(first, first + len(corners))))
        self.colours.append(colour)
        self.glow.append(glow)
        self.roughness.append(roughness)

    def prism(self, base: Floats, rise: Floats, colour: Floats, roughness: float) -> None:
        """A convex polygon ``(N, 3)``, drawn out by ``rise`` ``(3,)``, with its ends."""
        for a, b in zip(base, np.roll(base, -1, axis=0), strict=True):
            self.face(np.array([a, b, b + rise, a + rise]), colour, 0.0, roughness)
        self.face(base, colour, 0.0, roughness)
        self.face(base + rise, colour, 0.0, roughness)

    def box(self, middle: Floats, size: Size, turn: float, colour: Floats, roughness: float = 0.5) -> None:
        """A box whose bottom's middle is given, turned about the vertical."""
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(size[:2]) / 2
        c, s = math.cos(turn), math.sin(turn)
        base = np.concatenate([half @ np.array([[c, s], [-s, c]]), np.zeros((4, 1))], axis=1) + middle
        self.prism(base, np.array([0.0, 0.0, size[2]]), colour, roughness)

    def rod(self, start: Floats, end: Floats, radius: float, colour: Floats, roughness: float = 0.35) -> None:
        """A round rod between two points."""
        along = end - start
        side = np.cross(along, np.eye(3)[int(np.abs(along).argmin())])
        side /= max(float(np.linalg.norm(side)), 1e-9)
        other = np.cross(along, side)
        other /= max(float(np.linalg.norm(other)), 1e-9)
        angle = 2 * np.pi * np.arange(SIDES)[:, None] / SIDES
        self.prism(start + radius * (np.cos(angle) * side + np.sin(angle) * other), along, colour, roughness)


# ------------------------------------------------------------------------------------------------- what stands in rooms


def build(rng: Generator) -> tuple[Scene, Size]:
    """A room and its size."""
    scene, size = Scene(), (rng.uniform(3.5, 8.0), rng.uniform(3.5, 8.0), rng.uniform(2.5, 3.6))
    _shell(rng, scene, size)
    for wall in range(4):
        _along(rng, scene, size, wall)
    for _ in range(rng.integers(1, 4)):
        _bench(rng, scene, _somewhere(rng, size), rng.uniform(-math.pi, math.pi), rng.uniform(0.8, 1.8))
    for _ in range(rng.integers(1, 4)):
        _chair(rng, scene, _somewhere(rng, size))
    for _ in range(rng.integers(1, 4)):
        _arm(rng, scene, _somewhere(rng, size) + _by(0.0, 0.0, rng.uniform(0.1, 0.9)))
    for _ in range(rng.integers(0, 4)):
        _pipe(rng, scene, size)
    for _ in range(rng.integers(2, 9)):
        edge = rng.uniform(0.2, 0.6, 3)
        scene.box(_somewhere(rng, size), (edge[0], edge[1], edge[2]), rng.uniform(-3, 3), _colour(rng))
    return scene, size


def _colour(rng: Generator, known: Colours = FURNITURE, bold: float = BOLD) -> Floats:
    """A linear colour."""
    display = rng.uniform(0.0, 1.0, 3)
    if rng.random() >= bold:
        display = np.array(known[rng.integers(len(known))]) * rng.uniform(0.75, 1.05)
    return np.asarray(srgb.linear(display.clip(0.02, 0.95)))


def _by(x: float, y: float, z: float) -> Floats:
    """A step."""
    return np.array([x, y, z])


def _somewhere(rng: Generator, size: Size) -> Floats:
    """A place on the floor."""
    return np.array([rng.uniform(-0.42, 0.42) * size[0], rng.uniform(-0.42, 0.42) * size[1], 0.0])


def _shell(rng: Generator, scene: Scene, size: Size) -> None:
    """Floor, walls, and a ceiling with lamps."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    wall, gloss = _colour(rng, WALLS, 0.05), rng.uniform(0.15, 0.7)
    corner = np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    scene.face(corner, _colour(rng, FLOORS, 0.05), 0.0, gloss)
    scene.face(corner + _by(0.0, 0.0, z), _colour(rng, WALLS[:2], 0.0))
    for a, b in zip(corner, np.roll(corner, -1, axis=0), strict=True):
        own = wall if rng.random() < 0.8 else _colour(rng, WALLS, 0.1)
        scene.face(np.array([a, b, b + _by(0.0, 0.0, z), a + _by(0.0, 0.0, z)]), own, 0.0, 0.8)
    for _ in range(rng.integers(1, 6)):
        at = np.array([*_somewhere(rng, size)[:2], z - 0.04])
        w, d = (1.2, 0.25) if rng.random() < 0.6 else (0.6, 0.6)
        lamp = np.array([[-w, -d, 0.0], [w, -d, 0.0], [w, d, 0.0], [-w, d, 0.0]]) / 2 + at
        scene.face(lamp, np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1.0)]), rng.uniform(6.0, 18.0))


def _along(rng: Generator, scene: Scene, size: Size, wall: int) -> None:
    """What stands along one of the four walls, or hangs on it."""
    turn = wall * math.pi / 2
    length, away = (size[0], size[1]) if wall % 2 == 0 else (size[1], size[0])
    c, s = math.cos(turn), math.sin(turn)

    def at(along: float, out: float, up: float) -> Floats:
        y = out - away / 2
        return _by(c * along - s * y, s * along + c * y, up)

    def panel(up: float, wide: float, high: float, colour: Floats, glow: float, out: float) -> None:
        middle = rng.uniform(-0.42, 0.42) * length
        left, right = middle - wide / 2, middle + wide / 2
        corners = [at(left, out, up), at(right, out, up), at(right, out, up + high), at(left, out, up + high)]
        scene.face(np.array(corners), colour, glow, 0.3)

    for number in range(rng.integers(1, 7)):
        edges = rng.uniform(0.2, 1.2), rng.uniform(0.2, 0.9)
        panel(rng.uniform(0.8, 1.8), *edges, _colour(rng), 0.0, 0.012 + 0.004 * number)
    if rng.random() < 0.3:
        sky = np.array([0.8, 0.9, 1.0])
        panel(1.0, rng.uniform(0.8, 2.5), 1.2, sky, rng.uniform(3.0, 10.0), 0.04)
    if rng.random() < 0.4:
        panel(0.0, 0.95, 2.05, _colour(rng), 0.0, 0.05)
    place = -length / 2 + rng.uniform(0.0, 1.0)
    while place < length / 2 - 0.4:
        wide, kind = rng.uniform(0.4, 1.8), rng.random()
        middle = place + wide / 2
        if kind < 0.27:
            _cabinet(rng, scene, at, middle, wide, turn)
        elif kind < 0.62:
            _shelf(rng, scene, at, middle, wide, turn)
        elif kind < 0.92:
            _bench(rng, scene, at(middle, 0.4, 0.0), turn, wide)
        place += wide + rng.uniform(0.0, 0.35)


def _cabinet(rng: Generator, scene: Scene, at: Place, middle: float, wide: float, turn: float) -> None:
    """On the floor, or hanging, with doors or drawers and their handles."""
    deep, high, low = rng.uniform(0.35, 0.65), rng.uniform(0.6, 2.1), 0.0
    if rng.random() < 0.3:
        low, high = rng.uniform(1.3, 1.7), rng.uniform(0.4, 0.8)
    colour, handle, gloss = _colour(rng), _colour(rng), rng.uniform(0.2, 0.7)
    scene.box(at(middle, deep / 2, low), (wide, deep, high), turn, 0.7 * colour)
    columns, rows = rng.integers(1, 4), rng.integers(1, 5)
    w, h = wide / columns, high / rows
    for i in range(columns):
        for j in range(rows):
            x = middle + ((i + 0.5) / columns - 0.5) * wide
            scene.box(at(x, deep, low + j * h + 0.01), (w - 0.02, 0.02, h - 0.02), turn, colour, gloss)
            scene.box(at(x, deep + 0.025, low + (j + 0.8) * h), (0.12, 0.03, 0.02), turn, handle, 0.3)


def _shelf(rng: Generator, scene: Scene, at: Place, middle: float, wide: float, turn: float) -> None:
    """Boards with things on them, on the floor or hanging."""
    deep, colour = rng.uniform(0.25, 0.5), _colour(rng)
    boards, step = rng.integers(2, 6), rng.uniform(0.3, 0.5)
    low = rng.uniform(0.9, 1.4) if rng.random() < 0.3 else 0.1
    for side in (-0.5, 0.5):
        scene.box(at(middle + side * wide, deep / 2, low), (0.03, deep, boards * step), turn, colour)
    for board in range(boards):
        up = low + board * step
        scene.box(at(middle, deep / 2, up), (wide, deep, 0.025), turn, colour)
        inner = (middle - wide / 2 + 0.02, middle + wide / 2 - 0.02)
        _things(rng, scene, at, inner, deep, (up + 0.025, step - 0.06), turn)


def _things(
    rng: Generator, scene: Scene, at: Place, between: tuple[float, float], deep: float, room: tuple[float, float],
    turn: float,
) -> None:  # fmt: skip
    """Books, or boxes, crates and cans, side by side; ``room`` is how high they stand, and how high they may be."""
    (x, end), (up, most), books = between, room, rng.random() < 0.3
    while x < end - 0.05:
        w, high = rng.uniform(0.02, 0.05) if books else rng.uniform(0.05, 0.35), most * rng.uniform(0.3, 0.95)
        if x + w < end and (books or rng.random() < 0.75):
            foot = at(x + w / 2, deep / 2, up)
            if not books and w < 0.14 and rng.random() < 0.5:
                scene.rod(foot, foot + _by(0.0, 0.0, high), w / 2, _colour(rng, bold=0.35))
            else:
                edges = (w, deep * rng.uniform(0.4, 0.9), high)
                scene.box(foot, edges, turn, _colour(rng, bold=0.35), rng.uniform(0.2, 0.8))
        x += w + (0.0 if books else rng.uniform(0.0, 0.1))


def _bench(rng: Generator, scene: Scene, middle: Floats, turn: float, wide: float) -> None:
    """A table with things on it, a screen among them."""
    deep, high, top, legs = rng.uniform(0.5, 0.8), rng.uniform(0.7, 0.95), _colour(rng), _colour(rng)
    c, s = math.cos(turn), math.sin(turn)

    def at(along: float, out: float, up: float) -> Floats:
        y = out - deep / 2
        return np.asarray(middle + _by(c * along - s * y, s * along + c * y, up))

    scene.box(at(0, deep / 2, high), (wide, deep, 0.04), turn, top, rng.uniform(0.2, 0.7))
    for x in (-0.46, 0.46):
        for y in (0.08, 0.92):
            scene.box(at(x * wide, y * deep, 0.0), (0.05, 0.05, high), turn, legs, 0.3)
    if rng.random() < 0.6:
        _things(rng, scene, at, (-0.45 * wide, 0.45 * wide), 0.6 * deep, (high + 0.04, rng.uniform(0.1, 0.6)), turn)
    if rng.random() < 0.4:
        x, w = rng.uniform(-0.3, 0.3) * wide, rng.uniform(0.35, 0.6)
        black = np.full(3, 0.015)
        scene.box(at(x, deep * 0.75, high + 0.04), (0.06, 0.05, 0.15), turn, black)
        scene.box(at(x, deep * 0.8, high + 0.16), (w, 0.03, 0.6 * w), turn, black, 0.15)


def _chair(rng: Generator, scene: Scene, at: Floats) -> None:
    """An office chair."""
    colour, turn = _colour(rng, FURNITURE[2:]), rng.uniform(-math.pi, math.pi)
    scene.box(at + _by(0.0, 0.0, 0.45), (0.45, 0.45, 0.07), turn, colour)
    scene.box(at + _by(0.22 * math.cos(turn), 0.22 * math.sin(turn), 0.6), (0.05, 0.42, 0.45), turn, colour)
    scene.rod(at + _by(0.0, 0.0, 0.08), at + _by(0.0, 0.0, 0.45), 0.03, _colour(rng))
    for k in range(5):
        a = turn + k * 2 * math.pi / 5
        scene.rod(at + _by(0.0, 0.0, 0.1), at + _by(0.3 * math.cos(a), 0.3 * math.sin(a), 0.04), 0.02, colour)


def _arm(rng: Generator, scene: Scene, at: Floats) -> None:
    """Another robot's arm: rods from joint to joint, on a pedestal."""
    skin, joint, radius = _colour(rng, SKINS), _colour(rng, SKINS), rng.uniform(0.03, 0.08)
    scene.rod(at * (1, 1, 0), at, 1.5 * radius, joint)
    place, direction = at, np.array([0.0, 0.0, 1.0])
    for number in range(rng.integers(3, 7)):
        direction = direction + 0.9 * rng.normal(size=3)
        direction /= max(float(np.linalg.norm(direction)), 1e-9)
        end = place + rng.uniform(2.5, 7.0) * radius * direction
        scene.rod(place, end, radius * rng.uniform(0.6, 1.0), skin if number % 2 else joint)
        across = np.cross(direction, rng.normal(size=3))
        across *= 1.6 * radius / max(float(np.linalg.norm(across)), 1e-9)
        scene.rod(end - across, end + across, 1.1 * radius, joint)
        place = end


def _pipe(rng: Generator, scene: Scene, size: Size) -> None:
    """A pipe along a wall or up one."""
    axis = int(rng.integers(3))
    start = (rng.random(3) - (0.5, 0.5, 0.0)) * size
    side = 1 if axis == 0 else 0
    start[side] = (0.48 if rng.random() < 0.5 else -0.48) * size[side]
    end = start.copy()
    start[axis], end[axis] = (0.0, size[2]) if axis == 2 else (-size[axis] / 2, size[axis] / 2)
    scene.rod(start, end, rng.uniform(0.015, 0.06), _colour(rng))


# ------------------------------------------------------------------------------------------------- how they are seen


def render(scene: Scene, eye: Floats, samples: int, threads: int) -> Floats:
    """Radiance ``(WIDTH / 2, WIDTH, 3)`` around ``eye``, the top row first."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    mesh = bpy.data.meshes.new("room")
    mesh.from_pydata([tuple(c) for c in scene.corners], [], scene.faces)
    for name, values in (("colour", scene.colours), ("glow", scene.glow), ("roughness", scene.roughness)):
        kind = "FLOAT_COLOR" if name == "colour" else "FLOAT"
        layer = mesh.attributes.new(name, kind, "FACE")
        if name == "colour":
            layer.data.foreach_set("color", np.concatenate([values, np.ones((len(values), 1))], axis=1).ravel())
        else:
            layer.data.foreach_set("value", values)
    mesh.materials.append(_material())
    stage = bpy.context.scene
    stage.collection.objects.link(bpy.data.objects.new("room", mesh))
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.type, camera.data.panorama_type = "PANO", "EQUIRECTANGULAR"
    camera.location, camera.rotation_euler = eye, (math.pi / 2, 0.0, 0.0)
    stage.collection.objects.link(camera)
    stage.camera = camera
    stage.world = bpy.data.worlds.new("world")
    stage.render.engine = "CYCLES"
    stage.cycles.samples, stage.cycles.use_denoising = samples, True
    stage.cycles.max_bounces = stage.cycles.diffuse_bounces = 3
    stage.render.resolution_x, stage.render.resolution_y = WIDTH, WIDTH // 2
    stage.render.threads_mode, stage.render.threads = "FIXED", threads
    stage.render.image_settings.file_format = "OPEN_EXR"
    with tempfile.TemporaryDirectory() as folder:
        stage.render.filepath = str(Path(folder, "room.exr"))
        bpy.ops.render.render(write_still=True)
        image = bpy.data.images.load(stage.render.filepath)
        pixels = np.empty(WIDTH * (WIDTH // 2) * 4, np.float32)
        image.pixels.foreach_get(pixels)
    return pixels.reshape(WIDTH // 2, WIDTH, 4)[::-1, :, :3].astype(np.float64)


def _material() -> bpy.types.Material:
    """One for all faces: what differs are the mesh's attributes."""
    result = bpy.data.materials.new("room")
    result.use_nodes = True
    nodes, links = result.node_tree.nodes, result.node_tree.links
    shader = nodes["Principled BSDF"]
    for name, output, sockets in (
        ("colour", "Color", ("Base Color", "Emission Color")), ("glow", "Fac", ("Emission Strength",)),
        ("roughness", "Fac", ("Roughness",)),
    ):  # fmt: skip
        node = nodes.new("ShaderNodeAttribute")
        node.attribute_name = name
        for socket in sockets:
            links.new(node.outputs[output], shader.inputs[socket])
    return result


def viewpoint(rng: Generator, scene: Scene, size: Size) -> Floats:
    """Where a camera has the most room, of forty places."""
    unit = rng.random((40, 3))
    tried = (unit - (0.5, 0.5, 0.0)) * (0.6 * size[0], 0.6 * size[1], 0.7) + (0.0, 0.0, 0.9)
    apart = np.linalg.norm(tried[:, None] - np.array(scene.corners)[None], axis=2).min(axis=1)
    return np.asarray(tried[apart.argmax()])


def main() -> None:
    """Build, render, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=int, nargs="*", default=SHIPPED, metavar="NUMBER")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=places.FOLDER)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for number in options.numbers:
        rng = np.random.default_rng([2026, number])
        scene, size = build(rng)
        light = render(scene, viewpoint(rng, scene, size), options.samples, options.threads)
        Image.fromarray(places.encoded(light / light.mean())).save(
            options.out / f"room_{number:02d}.jpg", quality=QUALITY, subsampling=0, optimize=True
        )


if __name__ == "__main__":
    main()
