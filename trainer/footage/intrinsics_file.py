# SPDX-License-Identifier: GPL-3.0-or-later
"""Intrinsics of a real camera, from numbers or from the files that calibration tools write."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ...core.camera.intrinsics import Intrinsics
from ...core.errors import UserError
from ...core.input_files import LARGEST_TABLE, open_regular, read_json

Size = tuple[int, int]

STEPS = 25
MOST_OFF = 0.1
"""Pixels by which five coefficients may miss a lens that was given by more."""


def given_intrinsics(value: Any, size: Size, where: str, folder: Path) -> Intrinsics:
    """What ``intrinsics`` of a footage file say: a list of numbers, a table with ``K`` and ``distortion``, or a file.

    Args:
        size: width and height of the images; intrinsics of another size with the same proportions are scaled.

    Raises:
        UserError: if they can't be used.
    """
    if isinstance(value, str):
        path = folder / value
        document: Any = (
            _read_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else read_json(path, "choose another")
        )
        return _of_table(document, size, str(path))
    if isinstance(value, Mapping):
        return _of_table(value, size, where)
    numbers = _numbers(value, where)
    if len(numbers) < 4:
        raise UserError(f"{where}: intrinsics must be fx, fy, cx, cy and then the distortion, in pixels, not {value!r}")
    return make_intrinsics(size, numbers[:4], numbers[4:], where)


def _read_yaml(path: Path) -> Any:
    try:
        with open_regular(path) as stream:
            data = stream.read(LARGEST_TABLE + 1)
        if len(data) > 1 << 16:
            raise UserError(f"{path} is too large for a camera's intrinsics: choose another")
        # OpenCV's own files begin with a line and carry types that YAML does not know.
        text = data.decode("utf-8").replace("%YAML:1.0", "").replace("!!opencv-matrix", "")
        return yaml.safe_load(text)
    except OSError as problem:
        raise UserError(f"{path} can't be read ({problem.strerror}): choose another") from problem
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as problem:
        # Values that are not of the type that they, or their tags, promise raise what Python's own conversions do.
        raise UserError(f"{path} is not YAML: choose another file of intrinsics") from problem


def _of_table(document: Any, size: Size, where: str) -> Intrinsics:
    """Keys of ROS (``camera_matrix``, ``distortion_coefficients``, ``image_width``), OpenCV's, or K and distortion."""
    table = document if isinstance(document, Mapping) else {}
    matrix = next((table[k] for k in ("K", "k", "camera_matrix", "matrix") if k in table), None)
    lens: Any = next(
        (table[k] for k in ("distortion", "D", "d", "distortion_coefficients", "dist_coeffs") if k in table), []
    )
    model = str(table.get("distortion_model", "plumb_bob"))
    if model not in ("plumb_bob", "rational_polynomial", "none", ""):
        raise UserError(f"{where} has the distortion model {model}: undistort the images, and give plumb_bob's numbers")
    k = _numbers(matrix.get("data") if isinstance(matrix, Mapping) else matrix, where)
    if len(k) != 9:
        raise UserError(f"{where} has no camera matrix of 3 x 3 numbers: give K, or camera_matrix as ROS writes it")
    if abs(k[1]) > 1e-6 * k[0] or k[3] or k[6] or k[7] or abs(k[8] - 1) > 1e-9:
        raise UserError(
            f"{where} has a camera matrix with skew, or that is none: give [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"
        )
    d = _numbers(lens.get("data") if isinstance(lens, Mapping) else lens, where)
    width, height = (table.get(f"image_{n}", table.get(n, s)) for n, s in zip(("width", "height"), size, strict=True))
    numbers = [k[0], k[4], k[2], k[5]]
    if (width, height) != size:
        scale = size[0] / width if isinstance(width, (int, float)) and width > 0 else math.nan
        if not isinstance(height, (int, float)) or not abs(scale * height - size[1]) <= 1:
            raise UserError(
                f"{where} is of images of {width} x {height} pixels, and these have {size[0]} x {size[1]}: give the "
                "intrinsics of these"
            )
        numbers = [scale * k[0], scale * k[4], scale * (k[2] + 0.5) - 0.5, scale * (k[5] + 0.5) - 0.5]
    return make_intrinsics(size, numbers, d, where)


def _numbers(value: Any, where: str) -> list[float]:
    if value is None:
        return []
    try:
        flat = np.array(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as problem:
        raise UserError(f"{where}: intrinsics must be numbers, not {value!r}") from problem
    return [float(v) for v in flat]


def make_intrinsics(size: Size, numbers: Sequence[float], lens: Sequence[float], where: str) -> Intrinsics:
    """Intrinsics from fx, fy, cx, cy and OpenCV's 0, 4, 5 or 8 coefficients of distortion.

    A rational lens (8) is expressed by five coefficients, where these come within :data:`MOST_OFF` pixels of it over
    the whole image.

    Raises:
        UserError: if they can't be used.
    """
    if not all(math.isfinite(v) for v in (*numbers, *lens)) or min(numbers[:2]) <= 0:
        raise UserError(f"{where}: focal lengths must be positive, and all of the intrinsics finite")
    width, height = size
    fx, fy, cx, cy = numbers
    if not (-width <= cx <= 2 * width and -height <= cy <= 2 * height):
        raise UserError(
            f"{where}: the principal point {cx:g}, {cy:g} is far outside the image of {width} x {height}: check the "
            "order fx, fy, cx, cy"
        )
    coefficients = list(lens)
    while len(coefficients) > 8 and not coefficients[-1]:
        coefficients.pop()
    if len(coefficients) not in (0, 1, 2, 3, 4, 5, 8):
        raise UserError(
            f"{where}: distortion has {len(lens)} numbers: give k1, k2, p1, p2, k3, or undistort the images"
        )
    coefficients += [0.0] * (5 - len(coefficients))
    if any(coefficients[5:]):
        coefficients = _with_five(size, (fx, fy, cx, cy), coefficients, where)
    k1, k2, p1, p2, k3 = coefficients[:5]
    return Intrinsics(width, height, fx, fy, cx, cy, (k1, k2, p1, p2, k3))


def _with_five(size: Size, numbers: Sequence[float], lens: Sequence[float], where: str) -> list[float]:
    import cv2

    fx, fy, cx, cy = numbers
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    x, y = np.meshgrid(np.linspace(0, size[0] - 1, STEPS), np.linspace(0, size[1] - 1, STEPS))
    pixels: NDArray[np.float64] = np.stack([x.ravel(), y.ravel()], 1)
    straight = cv2.undistortPoints(pixels[:, None], matrix, np.array(lens)).reshape(-1, 2)
    a, b = straight.T
    s = a * a + b * b
    # Linear in the five coefficients.
    rows = np.concatenate([
        np.stack([a * s, a * s**2, 2 * a * b, s + 2 * a * a, a * s**3], 1) * fx,
        np.stack([b * s, b * s**2, s + 2 * b * b, 2 * a * b, b * s**3], 1) * fy,
    ])  # fmt: skip
    off = (pixels - (straight * (fx, fy) + (cx, cy))).T.ravel()
    five = np.linalg.lstsq(rows, off, rcond=None)[0]
    miss = float(np.abs(rows @ five - off).max())
    if not miss <= MOST_OFF:
        raise UserError(
            f"{where}: its rational distortion is {miss:.2g} px from any of five coefficients: undistort the images, "
            "or calibrate with k1, k2, p1, p2, k3"
        )
    return [float(v) for v in five]
