# SPDX-License-Identifier: GPL-3.0-or-later
"""Surface patterns: grey tiles in one small image, and the shader nodes that lay one of them over a surface.

A picture costs Cycles a tenth of what noise computed for every ray does.
"""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

IMAGE = "Keypoints Patterns"
SIZE = 128
NAMES = ("plain", "checker", "stripes", "tiles", "planks", "clouds", "concrete", "speckles")
COUNT = len(NAMES)


def image() -> bpy.types.Image:
    """The tiles side by side, each seamless; made where it is missing."""
    found = bpy.data.images.get(IMAGE)
    if found is not None and tuple(found.size) == (COUNT * SIZE, SIZE):
        return found
    result = bpy.data.images.new(IMAGE, COUNT * SIZE, SIZE, alpha=False, is_data=True)
    grey = np.concatenate(tiles(), axis=1)
    pixels = np.ones((SIZE, COUNT * SIZE, 4), np.float32)
    pixels[..., :3] = grey[..., None]
    result.pixels.foreach_set(pixels.ravel())
    result.update()
    result.pack()
    return result


def tiles() -> list[NDArray[np.float64]]:
    """The tiles in the order of ``NAMES``, each ``(SIZE, SIZE)`` from 0 to 1."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    clouds, fine, grain = _noise(rng, 1.8), _noise(rng, 0.7), _noise(rng, 1.2, stretch=12.0)
    square = ((x * 4).astype(int) + (y * 4).astype(int)) % 2
    grout = ((x * 4) % 1 < 0.06) | ((y * 4) % 1 < 0.06)
    seam = (y * 4) % 1 < 0.05
    board = np.array([0.1, 0.6, 0.3, 0.8])[(y * 4).astype(int)]
    return [
        np.zeros_like(x),
        square.astype(float),
        ((x * 6) % 1 < 0.5).astype(float),
        np.where(grout, 1.0, 0.25 * clouds),
        np.where(seam, 1.0, 0.4 * board + 0.4 * grain),
        clouds,
        0.6 * clouds + 0.4 * fine,
        (fine > 0.72).astype(float),
    ]


def _noise(rng: np.random.Generator, exponent: float, stretch: float = 1.0) -> NDArray[np.float64]:
    """Seamless noise whose amplitude falls with frequency to the power of ``exponent``, from 0 to 1."""
    fy, fx = np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE), indexing="ij")
    frequency = np.hypot(fx * stretch, fy) * SIZE
    spectrum = np.fft.fft2(rng.normal(size=(SIZE, SIZE))) / np.maximum(frequency, 1.0) ** exponent
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    low, high = np.quantile(field, (0.02, 0.98))
    return np.asarray(((field - low) / (high - low)).clip(0.0, 1.0))


class Lookup:
    """Nodes that read one tile: feed ``vector``, in repeats of the pattern, and ``tile``; take ``mask``, 0 to 1."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        fraction = node(tree, "ShaderNodeVectorMath", operation="FRACTION")
        self.vector = fraction.inputs[0]
        within = node(tree, "ShaderNodeVectorMath", operation="MULTIPLY_ADD")
        # Half a texel at each edge is left out, or the neighbouring tile would show.
        inner = 1.0 - 1.0 / SIZE
        within.inputs[1].default_value = (inner / COUNT, inner, 0.0)
        tree.links.new(fraction.outputs[0], within.inputs[0])
        self.tile = within.inputs[2]
        texture = node(tree, "ShaderNodeTexImage", image=image(), extension="EXTEND")
        tree.links.new(within.outputs[0], texture.inputs["Vector"])
        self.mask = texture.outputs["Color"]


def tile(index: int) -> tuple[float, float, float]:
    """What :attr:`Lookup.tile` is to be for a pattern."""
    half = 0.5 / SIZE
    return ((index + half) / COUNT, half, 0.0)


def node(tree: bpy.types.NodeTree, kind: str, **settings: Any) -> bpy.types.Node:
    """Add a node with some of its properties set."""
    result = tree.nodes.new(kind)
    for name, value in settings.items():
        setattr(result, name, value)
    return result


def mix_sockets(node: bpy.types.Node) -> tuple[Any, Any, Any, Any]:
    """Factor, A, B and result of a Mix node of floats or colours."""
    kind = {"RGBA": "Color", "FLOAT": "Float"}[node.data_type]
    inputs = {s.identifier: s for s in node.inputs}
    outputs = {s.identifier: s for s in node.outputs}
    return inputs["Factor_Float"], inputs[f"A_{kind}"], inputs[f"B_{kind}"], outputs[f"Result_{kind}"]


def material(name: str) -> bpy.types.Material:
    """An empty material of this name, in place of an older one."""
    old = bpy.data.materials.get(name)
    if old is not None:
        bpy.data.materials.remove(old)
    result = bpy.data.materials.new(name)
    if not result.use_nodes:
        result.use_nodes = True
    result.node_tree.nodes.clear()
    return result
