# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes meshes lighter by taking vertices together that lie near one another [Rossignac1993]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def clustered(vertices: Floats, triangles: Indices, size: float) -> tuple[Floats, Indices]:
    """The mesh with the vertices of each cube in one place, their mean; triangles that become lines are left out.

    Args:
        vertices: ``(V, 3)``, metres.
        triangles: indices of vertices ``(T, 3)``.
        size: of the cubes' edges, metres.
    """
    _, cube = np.unique(np.floor(vertices / size).astype(np.int64), axis=0, return_inverse=True)
    cube = cube.reshape(-1)
    sums = np.zeros((int(cube.max(initial=-1)) + 1, 3))
    np.add.at(sums, cube, vertices)
    a, b, c = cube[triangles].T
    kept = (a != b) & (b != c) & (a != c)
    return sums / np.bincount(cube)[:, None], np.stack([a, b, c], 1)[kept]
