# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the corners of checkerboards, ChArUco boards, grids of markers and single markers in an image, with OpenCV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording import Floats, Marker

LEAST_CORNERS = 4
BORDER = 2.0
"""Pixels from the image's edge within which a corner is not measured well."""


@dataclass(frozen=True)
class Detection:
    """A marker in an image.

    Attributes:
        marker: with the number that was found, if it had none.
        corners: pixels ``(N, 2)``, the centre of the top-left pixel is (0, 0).
        points: in the marker's frame, metres, ``(N, 3)``.
        share: of the marker's corners that were found.
    """

    marker: Marker
    corners: Floats
    points: Floats
    share: float


def detect(grey: NDArray[np.uint8], markers: Sequence[Marker]) -> list[Detection]:
    """All of the markers that an image ``(h, w)`` shows; of a marker that stands for a whole dictionary, each one."""
    found = [d for m in markers if m.kind == "checkerboard" for d in _checkerboard(grey, m)]
    by_dictionary: dict[str, list[Marker]] = {}
    for marker in markers:
        if marker.kind in ("aruco", "grid"):
            by_dictionary.setdefault(marker.dictionary, []).append(marker)
    for dictionary, group in by_dictionary.items():
        found += _single_markers(grey, dictionary, group)
    found += [d for m in markers if m.kind == "charuco" for d in _charuco(grey, m)]
    return found


def board_points(marker: Marker) -> Floats:
    """All corners of a checkerboard, or of a ChArUco board its inner ones, row by row; of a single marker its four,
    metres, ``(N, 3)``."""
    if marker.kind == "aruco":
        h = marker.side / 2
        return np.array([[-h, h, 0], [h, h, 0], [h, -h, 0], [-h, -h, 0]])
    if marker.kind == "grid":
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * marker.side
        x, y = np.meshgrid(np.arange(marker.counts[0]), np.arange(marker.counts[1]))
        places = np.stack([x.ravel(), y.ravel()], 1) * marker.square
        flat = (places[:, None] + corners).reshape(-1, 2)
        return np.concatenate([flat, np.zeros((len(flat), 1))], 1)
    inner = marker.counts if marker.kind == "checkerboard" else (marker.counts[0] - 1, marker.counts[1] - 1)
    x, y = np.meshgrid(np.arange(inner[0]), np.arange(inner[1]))
    shift = 0.0 if marker.kind == "checkerboard" else 1.0
    flat = (np.stack([x.ravel(), y.ravel()], 1) + shift) * marker.square
    return np.concatenate([flat, np.zeros((len(flat), 1))], 1)


def same_looking(marker: Marker, points: Floats) -> list[Floats]:
    """Points ``(N, 3)`` of a marker as they would be named if a checkerboard's corners were counted from another end.

    Where a checkerboard looks the same upside down no image tells which corner is the first, and where it doesn't,
    detectors don't always heed it; but the robot's joints tell. The first entry is ``points`` themselves.
    """
    if marker.kind != "checkerboard":
        return [points]
    last = np.array([(marker.counts[0] - 1) * marker.square, (marker.counts[1] - 1) * marker.square, 0.0])
    ways = [points, last - points]
    if marker.counts[0] == marker.counts[1]:
        quarter = np.stack([last[1] - points[:, 1], points[:, 0], points[:, 2]], 1)
        ways += [quarter, last - quarter]
    return ways


def dictionary_of(name: str) -> Any:
    """OpenCV's dictionary of that name."""
    import cv2

    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))


def _parameters() -> Any:
    import cv2

    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    return parameters


def _checkerboard(grey: NDArray[np.uint8], marker: Marker) -> Iterator[Detection]:
    import cv2

    found, corners = cv2.findChessboardCornersSB(grey, marker.counts, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
    if not found:
        quick = cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK
        found, corners = cv2.findChessboardCorners(grey, marker.counts, flags=quick)
        if found:
            corners = _refined(grey, corners)
    if not found or corners is None or len(corners) != marker.counts[0] * marker.counts[1]:
        return
    corners = _right_handed(np.asarray(corners, dtype=np.float64).reshape(-1, 2), marker.counts)
    if _chequered(grey, corners.reshape(marker.counts[1], marker.counts[0], 2)):
        yield Detection(marker, corners, board_points(marker), 1.0)


def _chequered(grey: NDArray[np.uint8], rows: Floats) -> bool:
    """Whether the squares about each corner ``(ny, nx, 2)`` are dark and light in turn: at a board's rim, which
    detectors may take for a row of corners, they aren't."""
    import cv2

    down, along = np.gradient(rows, axis=(0, 1))
    places = np.stack([rows + 0.4 * (i * along + j * down) for i, j in ((1, 1), (-1, 1), (-1, -1), (1, -1))])
    u, v = (places[..., k].reshape(4, -1).astype(np.float32) for k in (0, 1))
    a, b, c, d = cv2.remap(grey, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.int64)
    dark, light = np.maximum(a, c) < np.minimum(b, d), np.minimum(a, c) > np.maximum(b, d)
    odd = (np.indices(rows.shape[:2]).sum(0).ravel() % 2).astype(bool)
    return bool((dark ^ odd).all() & (light ^ ~odd).all() or (light ^ odd).all() & (dark ^ ~odd).all())


def _refined(grey: NDArray[np.uint8], corners: Any, reach: float = 0.4) -> Any:
    """Corners to a part of a pixel, in windows that hold nothing of what is further than ``reach`` squares."""
    import cv2

    flat = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    nearest = np.sort(np.linalg.norm(flat[:, None] - flat[None], axis=-1), axis=1)[:, 1].min()
    half = int(np.clip(reach * nearest, 2, 11))
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-3)
    return cv2.cornerSubPix(grey, corners, (half, half), (-1, -1), criteria)


def _right_handed(corners: Floats, counts: tuple[int, int]) -> Floats:
    """Corners in an order whose x and y run as on the print, and z away from who looks at it, as in OpenCV's boards."""
    rows = corners.reshape(counts[1], counts[0], 2)
    along, down = rows[0, -1] - rows[0, 0], rows[-1, 0] - rows[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        rows = rows[:, ::-1]
    return np.ascontiguousarray(rows.reshape(-1, 2))


def _single_markers(grey: NDArray[np.uint8], dictionary: str, group: Sequence[Marker]) -> Iterator[Detection]:
    import cv2

    detector = cv2.aruco.ArucoDetector(dictionary_of(dictionary), _parameters())
    quads, ids, _ = detector.detectMarkers(grey)
    seen: dict[int, list[Floats]] = {}
    for quad, number in zip(quads, [] if ids is None else ids.ravel().tolist(), strict=True):
        seen.setdefault(int(number), []).append(np.asarray(quad, dtype=np.float64).reshape(4, 2))
    # One number twice in an image: which of them is meant can't be told.
    unique = {number: places[0] for number, places in seen.items() if len(places) == 1}
    for marker in group:
        if marker.kind == "grid":
            first, count = marker.number or 0, marker.counts[0] * marker.counts[1]
            shown = [n for n in range(first, first + count) if n in unique]
            if shown:
                points = board_points(marker).reshape(count, 4, 3)
                yield Detection(
                    marker, np.concatenate([unique[n] for n in shown]),
                    np.concatenate([points[n - first] for n in shown]), len(shown) / count,
                )  # fmt: skip
            continue
        numbers = [marker.number] if marker.number is not None else sorted(unique)
        claimed = {m.number for m in group if m.kind == "aruco" and m is not marker}
        for number in numbers:
            if number in unique and (marker.number is not None or number not in claimed):
                named = marker if marker.number is not None else replace(
                    marker, name=f"{marker.name}/{number}", number=number
                )  # fmt: skip
                yield Detection(named, unique[number], board_points(marker), 1.0)


def _charuco(grey: NDArray[np.uint8], marker: Marker) -> Iterator[Detection]:
    import cv2

    board = cv2.aruco.CharucoBoard(marker.counts, marker.square, marker.side, dictionary_of(marker.dictionary))
    board.setLegacyPattern(marker.legacy)
    detector = cv2.aruco.CharucoDetector(board, cv2.aruco.CharucoParameters(), _parameters())
    corners, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < LEAST_CORNERS:
        return
    points = np.asarray(board.getChessboardCorners(), dtype=np.float64)
    # Windows that reach no corner of the markers within the squares.
    margin = (1 - marker.side / marker.square) / 2
    refined = _refined(grey, np.asarray(corners, dtype=np.float32).reshape(-1, 1, 2), 0.7 * margin)
    yield Detection(
        marker, np.asarray(refined, dtype=np.float64).reshape(-1, 2), points[ids.ravel()], len(ids) / len(points)
    )


def inside(corners: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which corners ``(N, 2)`` lie far enough from the image's edge to be measured well."""
    return np.asarray(((corners > BORDER) & (corners < np.array(size) - 1 - BORDER)).all(1))
