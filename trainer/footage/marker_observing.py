# SPDX-License-Identifier: GPL-3.0-or-later
"""What all frames of a recording show of its markers; where that is nothing, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from .board_intrinsics import estimate_intrinsics
from .frame_reader import grey, read_frames
from .marker_detector import Detection, detect, dictionary_of
from .marker_quality import edge_width, observation
from .recording import Footage, Marker, MarkerObservation

LEAST_TIMES = 3
"""A number of a dictionary that is found in fewer frames is taken for a mistake."""
PROBES = 6
"""Frames that are looked at again to say why nothing was found."""
PARALLEL = 2
"""Frames that are searched at once; OpenCV uses further processors by itself."""

Progress = Callable[[int, int], None]
"""Is told how many frames are done, of how many."""


@dataclass(frozen=True)
class Sighting:
    """A marker in a frame, before its pose is known.

    Attributes:
        frame: its place in :attr:`.Footage.frames`.
        sharpness: see :func:`.edge_width`.
    """

    frame: int
    detection: Detection
    sharpness: float


def observe_markers(
    footage: Footage, progress: Progress | None = None
) -> tuple[Footage, tuple[MarkerObservation, ...]]:
    """Find the markers in all frames; cameras without intrinsics get them from a board.

    Returns:
        The footage with all intrinsics known, and a marker of its own for each number where a marker stood for a whole
        dictionary; and the observations in the order of frames.

    Raises:
        UserError: if no frame shows any of the markers, or intrinsics can't be estimated.
    """
    sightings = _sightings(footage, progress)
    if not sightings:
        raise UserError(_why_nothing(footage))
    _check_counts(footage, sightings)
    footage, sightings = _numbered(footage, sightings)
    cameras = []
    for camera in footage.cameras:
        if camera.intrinsics is None:
            own = [s.detection for s in sightings if footage.frames[s.frame].camera == camera.name]
            camera = replace(camera, intrinsics=estimate_intrinsics(camera.name, camera.size, own))
        cameras.append(camera)
    footage = replace(footage, cameras=tuple(cameras))
    observations = []
    for s in sightings:
        intrinsics = footage.camera(footage.frames[s.frame].camera).intrinsics
        assert intrinsics is not None
        seen = observation(s.frame, s.detection, s.sharpness, intrinsics)
        if seen is not None:
            observations.append(seen)
    return footage, tuple(observations)


def _sightings(footage: Footage, progress: Progress | None) -> list[Sighting]:
    found: list[Sighting] = []
    done = 0

    def search(entry: tuple[int, NDArray[np.uint8]]) -> list[Sighting]:
        place, pixels = entry
        image = grey(pixels)
        return [Sighting(place, d, edge_width(image, d)) for d in detect(image, footage.markers)]

    with ThreadPoolExecutor(PARALLEL) as pool:
        for camera in footage.cameras:
            frames = read_frames(footage, camera.name)
            while batch := list(islice(frames, PARALLEL)):
                for sightings in pool.map(search, batch):
                    found += sightings
                done += len(batch)
                if progress is not None:
                    progress(done, len(footage.frames))
    return sorted(found, key=lambda s: s.frame)


def _numbered(footage: Footage, sightings: list[Sighting]) -> tuple[Footage, list[Sighting]]:
    """A marker for each number that was found of those that stand for a whole dictionary."""
    count = Counter(s.detection.marker.name for s in sightings)
    known = {m.name for m in footage.markers}
    added = {s.detection.marker.name: s.detection.marker for s in sightings}
    kept = [m for m in footage.markers if m.kind != "aruco" or m.number is not None]
    kept += [m for name, m in sorted(added.items()) if name not in known and count[name] >= LEAST_TIMES]
    names = {m.name for m in kept}
    return replace(footage, markers=tuple(kept)), [s for s in sightings if s.detection.marker.name in names]


def _samples(footage: Footage) -> Iterator[NDArray[np.uint8]]:
    """A few frames of each camera, grey, from all over the recording."""
    for camera in footage.cameras:
        places = footage.of_camera(camera.name)
        wanted = {places[int(k)] for k in np.linspace(0, len(places) - 1, min(len(places), PROBES))}
        for place, pixels in read_frames(footage, camera.name):
            if place in wanted:
                yield grey(pixels)


def _why_nothing(footage: Footage) -> str:
    """One sentence for footage in which no marker was found, from what else there is to find."""
    where = f"No frame of {footage.source}"
    if not footage.markers:
        return f"{footage.source} has no markers: add [markers.NAME], or give a model to calibrate without"
    for image in _samples(footage):
        for marker in footage.markers:
            if marker.kind == "checkerboard":
                other = _other_counts(image, marker)
                if other is not None:
                    return (
                        f"{where} shows a checkerboard of {marker.counts[0]} x {marker.counts[1]} inner corners, but "
                        f"one of {other[0]} x {other[1]}: correct inner_corners of {marker.name}"
                    )
            else:
                dictionary = _other_dictionary(image, marker)
                if dictionary is not None:
                    return (
                        f"{where} shows markers of {marker.dictionary}, but of {dictionary}: correct dictionary of "
                        f"{marker.name}"
                    )
                if marker.kind != "aruco" and _shown(image, marker.dictionary):
                    what = "squares" if marker.kind == "charuco" else "markers"
                    return (
                        f"{where} shows a {marker.kind} of {marker.counts[0]} x {marker.counts[1]} {what}, though "
                        f"markers of {marker.dictionary} are there: correct {what} of {marker.name}"
                    )
    names = ", ".join(m.name for m in footage.markers)
    return f"{where} shows a marker ({names}): check their kinds and sizes, and that they are seen whole and sharp"


def _other_counts(image: NDArray[np.uint8], marker: Marker) -> tuple[int, int] | None:
    """Inner corners of another checkerboard than the one that was meant."""
    nx, ny = marker.counts
    nearby = [(nx + i, ny + j) for i in (0, -1, 1) for j in (0, -1, 1) if (i, j) != (0, 0)]
    for counts in nearby:
        if min(counts) > 2 and detect(image, [replace(marker, counts=counts)]):
            return counts
    return None


def _other_dictionary(image: NDArray[np.uint8], marker: Marker) -> str | None:
    """A dictionary of which an image shows more markers than of the one that was meant."""
    import cv2

    best, most = None, _shown(image, marker.dictionary)
    for name in (n for n in dir(cv2.aruco) if n.startswith("DICT_") and n != marker.dictionary):
        count = _shown(image, name)
        if count > most:
            best, most = name, count
    return best


def _shown(image: NDArray[np.uint8], dictionary: str) -> int:
    """How many markers of a dictionary an image shows."""
    import cv2

    _, ids, _ = cv2.aruco.ArucoDetector(dictionary_of(dictionary)).detectMarkers(image)
    return 0 if ids is None else len(ids)


def _check_counts(footage: Footage, sightings: Sequence[Sighting]) -> None:
    """Refuse a checkerboard that is a part of what the images show: its corners would be counted from anywhere.

    Raises:
        UserError: if one is.
    """
    import cv2

    boards = {s.detection.marker.name: s for s in sightings if s.detection.marker.kind == "checkerboard"}
    for name, sighting in boards.items():
        frame = footage.frames[sighting.frame]
        image = next(grey(p) for place, p in read_frames(footage, frame.camera) if place == sighting.frame)
        counts = footage.marker(name).counts
        found, _, meta = cv2.findChessboardCornersSBWithMeta(
            image, counts, cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_LARGER
        )
        larger = meta.shape[::-1] if found and meta is not None else counts
        if sorted(larger) != sorted(counts) and larger[0] * larger[1] > counts[0] * counts[1]:
            raise UserError(
                f"{frame.name} shows a checkerboard of {larger[0]} x {larger[1]} inner corners, and {name} has "
                f"{counts[0]} x {counts[1]}: correct inner_corners in {footage.source}"
            )
