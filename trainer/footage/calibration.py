# SPDX-License-Identifier: GPL-3.0-or-later
"""Cameras, mounts and joint offsets from all good images of a recording, together and robustly.

OpenCV's ``A X = Z B`` starts, :mod:`.joint_problem` settles, and images that contradict the others are left out and
named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.camera.intrinsics import invert
from ...core.errors import UserError
from ..pose.problem import Options
from .clock import estimate_clock, rates_of, with_clock
from .hand_eye_start import LEAST, TRUNCATE, View, error_of, placed_together
from .joint_problem import Block, Fit, Placement, Setup, solve
from .marker_detector import same_looking
from .marker_quality import AMBIGUOUS_REASON, CORNER_NOISE, planar_poses
from .recording import ROOM, Camera, Floats, Footage, MarkerObservation

ROUNDS = 20
FIRST_LIMIT = 15.0
"""Pixels that an image may be off the start, root mean square, at least."""
LEAST_LIMIT = 1.5
"""Pixels that an image may be off the solution without contradicting the others."""
FAR = 6.0
"""Standard deviations, by the median, from which on an image contradicts the others."""
TAIL = 2.0
"""Typical errors at which an image counts for half, as Cauchy's distribution has it: joints err with long tails."""
SETTLED = 0.01
MOVED_LEAST = 4
"""Contradicting images of one camera that may mean that it has moved."""
MOVED_SHARE = 0.1
BAD_FIT = 3.0
"""Median error of a camera's images, in pixels, from which on it may have moved halfway, so that none contradicts."""
HALVES = 12
"""So many places at which its images are cut in two are tried."""
SIZE_LEAST = 6
"""Moments that show a marker, without which the robot's motions don't tell its size."""
SIZE_OFF, SIZE_SURE = 0.03, 4.0
"""Share by which a marker's size is off, and standard deviations of that, from which on it is refused."""
MOVED_STRETCH = 0.5
"""Share of the images from the first to the last contradicting one that contradict, if the camera has moved."""


@dataclass(frozen=True)
class CameraResult:
    """Where one camera is.

    Attributes:
        pose: ``T_cam_link`` of :attr:`.Camera.link`; ``T_cam_base`` of a camera that rests.
        covariance: ``(6, 6)`` of the small motion (ω, v) of the camera frame, radians and metres.
        with_offsets: covariance of the same motion and then of the joints' offsets, in the order of
            :attr:`Calibration.offsets`, ``(6 + O, 6 + O)``.
        without: how far its pose would move without each moment, ``(G, 6)``.
        reprojection: root mean square error of each of its images that count, pixels.
    """

    camera: Camera
    pose: Floats
    covariance: Floats
    with_offsets: Floats
    without: Floats
    reprojection: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """What a recording tells.

    Attributes:
        footage: with intrinsics, mounts and the clock's offset filled in.
        cameras: by name.
        mounts: covariances ``(6, 6)`` of the markers' mounts that were estimated, of small motions of the link's frame.
        offsets: of joints, to be added to their positions, and standard deviations, radians or metres.
        clock: offset in seconds and its standard deviation, where it was estimated.
        observations: of markers, with the quality that the joints leave them.
        keypoints: root mean square error of the model's keypoints, pixels; None without a model.
        warnings: sentences.
    """

    footage: Footage
    cameras: Mapping[str, CameraResult]
    mounts: Mapping[str, Floats]
    offsets: Mapping[str, tuple[float, float]]
    clock: tuple[float, float] | None
    observations: tuple[MarkerObservation, ...]
    keypoints: float | None
    warnings: tuple[str, ...]

    def contradicting(self) -> list[str]:
        """Names of the frames whose markers and joints don't belong together."""
        frames = self.footage.frames
        return list(dict.fromkeys(
            frames[o.frame].name for o in self.observations if any(CONTRADICTS in r for r in o.quality.reasons)
        ))  # fmt: skip


CONTRADICTS = "contradicts the joint positions"

KeypointBlocks = Callable[[Footage], tuple[Sequence[Block], Mapping[str, Floats]]]
"""A model's keypoints as blocks, and a start for each camera that they place."""


def calibrate(
    footage: Footage,
    observations: Sequence[MarkerObservation],
    *,
    offsets: Mapping[str, float] | None = None,
    keypoints: tuple[Sequence[Block], Mapping[str, Floats]] | None = None,
) -> Calibration:
    """Place all cameras, and all markers without a mount.

    Args:
        observations: what :func:`.observe_markers` has found; empty without markers.
        offsets: standard deviations of the joints' offsets, radians or metres; joints without one are true.
        keypoints: blocks of a model's keypoints, and where they alone place the cameras.

    Raises:
        UserError: if the images don't determine the cameras, or a camera has moved.
    """
    warnings: list[str] = []
    unlogged = sum(f.positions is None for f in footage.frames)
    if unlogged:
        warnings.append(
            f"The joint positions of {unlogged} of {len(footage.frames)} frames are not known (the log begins later, "
            "ends earlier or has gaps): these frames are left out."
        )
    clock = None
    if footage.estimate_clock:
        footage = with_clock(footage, estimate_clock(footage, observations))
    blocks, placed = keypoints or ((), {})
    problem = _Problem(footage, observations, blocks, placed, offsets or {})
    fit, accepted = problem.settle()
    if footage.estimate_clock:
        for _ in range(3):  # joints move on between two samples
            footage = with_clock(footage, fit.placement.clock)
            problem = _Problem(footage, observations, blocks, placed, offsets or {})
            fit, accepted = problem.settle()
        clock = (fit.placement.clock, float(np.sqrt(fit.covariance[-1, -1])))
    if not fit.determined:
        raise UserError(
            f"The images of {footage.source} don't determine where the cameras and markers are: turn the robot about "
            "at least two axes that are not parallel, and take more images"
        )
    problem.check_sizes(fit, accepted)
    problem.check_moved(fit, accepted)
    return problem.result(fit, accepted, clock, warnings)


class _Problem:
    """One footage's images as views and blocks."""

    def __init__(
        self,
        footage: Footage,
        observations: Sequence[MarkerObservation],
        blocks: Sequence[Block],
        placed: Mapping[str, Floats],
        offsets: Mapping[str, float],
    ) -> None:
        self.footage = footage
        self.observations = tuple(observations)
        self._blocks, self._offsets = list(blocks), dict(offsets)
        self.intrinsics = {c.name: c.intrinsics for c in footage.cameras if c.intrinsics is not None}
        self._links = {c.name: c.link for c in footage.cameras}
        frames = footage.frames
        self.usable = [
            k for k, o in enumerate(self.observations)
            if frames[o.frame].positions is not None and not set(o.quality.reasons) - {AMBIGUOUS_REASON}
        ]  # fmt: skip
        if not self.usable and not self._blocks:
            raise UserError(_why_unusable(footage, self.observations))
        self._views = {k: self._view(self.observations[k]) for k in self.usable}
        self.start = self._start(placed)

    def _camera_of(self, k: int) -> str:
        return self.footage.frames[self.observations[k].frame].camera

    def _view(self, seen: MarkerObservation) -> View:
        frame, marker = self.footage.frames[seen.frame], self.footage.marker(seen.marker)
        frames = self.footage.robot.link_frames(frame.positions or {})
        frames[ROOM] = np.eye(4)
        link = invert(frames[self._links[frame.camera]]) @ frames[marker.link]
        ways = same_looking(marker, seen.points)
        poses = [p for w in ways for p in planar_poses(w, seen.corners, self.intrinsics[frame.camera])]
        return View(link, np.array(poses).reshape(-1, 4, 4), np.stack(ways), seen.corners)

    # ------------------------------------------------------------------------------------------------------ the start

    def _start(self, placed: Mapping[str, Floats]) -> Placement:
        """A camera and a mount at a time, from the pairs with most images, those first of which one is known."""
        cameras: dict[str, Floats] = dict(placed)
        mounts = {m.name: m.mount for m in self.footage.markers if m.mount is not None}
        pairs: dict[tuple[str, str], list[int]] = {}
        for k in self.usable:
            pairs.setdefault((self._camera_of(k), self.observations[k].marker), []).append(k)
        worst: tuple[float, str] = (0.0, "")
        while True:
            open_ = [p for p in pairs if p[0] not in cameras or p[1] not in mounts]
            if not open_:
                break
            # What is known already is worth more than many images.
            pair = max(open_, key=lambda p: ((p[0] in cameras) + (p[1] in mounts), len(pairs[p])))
            members = pairs.pop(pair)
            camera, marker = pair
            if (
                self._links[camera] == self.footage.marker(marker).link
                and marker not in mounts
                and camera not in cameras
            ):
                continue  # nothing moves between them, so that any mount fits
            found = placed_together(
                [self._views[k] for k in members], self.intrinsics[camera], cameras.get(camera), mounts.get(marker)
            )
            if found is None or found[2] > 0.75 * TRUNCATE:
                worst = (math.inf if found is None else found[2], camera)
                continue
            cameras[camera], mounts[marker] = found[0], found[1]
        missing = [c.name for c in self.footage.cameras if c.name not in cameras]
        if missing:
            raise UserError(self._why_not_placed(missing[0], worst))
        return Placement(cameras, mounts)

    def _why_not_placed(self, camera: str, worst: tuple[float, str]) -> str:
        own = [k for k in self.usable if self._camera_of(k) == camera]
        source = self.footage.source
        if len(own) < LEAST:
            return (
                f"The camera {camera} has {len(own)} images in which a marker is seen well and the joints are known, "
                f"where {LEAST} are needed: {_why_unusable(self.footage, self.observations, camera)}"
            )
        still = all(self._links[camera] == self.footage.marker(self.observations[k].marker).link for k in own)
        if still:
            return (
                f"Nothing moves between the camera {camera} and its markers, so that images can't tell where they are: "
                f"give the marker's mount in {source}, or put it on a link that moves"
            )
        if worst[0] == math.inf:
            return (
                f"The robot's poses in the images of the camera {camera} don't determine where it is: turn the robot "
                "about at least two axes that are not parallel"
            )
        return (
            f"The marker's images and the joint positions don't belong together for the camera {camera}: check the "
            f"joints' unit and order, the clock's offset, and the links that camera and markers are on in {source}"
        )

    # --------------------------------------------------------------------------------------------------- the solution

    def errors(self, placement: Placement) -> dict[int, tuple[float, int]]:
        """Root mean square error in pixels of every usable image, and the way of counting corners that fits."""
        result = {}
        for k in self.usable:
            seen = self.observations[k]
            if seen.marker in placement.mounts:
                camera, view = self._camera_of(k), self._views[k]
                if placement.offsets:
                    view = replace(view, link=self._shifted_link(seen, placement))
                mount = placement.mounts[seen.marker]
                result[k] = error_of(view, self.intrinsics[camera], placement.cameras[camera], mount)
        return result

    def _shifted_link(self, seen: MarkerObservation, placement: Placement) -> Floats:
        frame = self.footage.frames[seen.frame]
        positions = {n: v + placement.offsets.get(n, 0.0) for n, v in (frame.positions or {}).items()}
        frames = self.footage.robot.link_frames(positions)
        frames[ROOM] = np.eye(4)
        return invert(frames[self._links[frame.camera]]) @ frames[self.footage.marker(seen.marker).link]

    def settle(self) -> tuple[Fit, dict[int, tuple[float, int]]]:
        """Solve, leave out what contradicts the rest, and again, until nothing changes.

        Returns:
            The fit, and by place in :attr:`observations` the error and way of each image that counts.
        """
        placement = self.start
        errors = self.errors(placement)
        noise = _typical(e for e, _ in errors.values())
        limit = max(FIRST_LIMIT, 4 * noise)
        fit: Fit | None = None
        accepted: dict[int, tuple[float, int]] = {}
        blocks: Sequence[Block] = self._blocks
        for _ in range(ROUNDS):
            before = accepted
            accepted = {k: e for k, e in errors.items() if e[0] <= limit}
            if fit is not None and accepted.keys() == before.keys() and _settled(accepted, before):
                break
            blocks = [*self._marker_blocks(accepted, noise), *self._blocks]
            if not blocks:
                raise UserError(self._why_not_placed(self.footage.cameras[0].name, (noise, "")))
            fit = solve(self._setup(blocks), blocks, self._begun(placement), Options(kernel="cauchy", scale=3.0))
            placement = fit.placement
            errors = self.errors(placement)
            middle = _typical(e for e, _ in errors.values())
            scatter = 1.4826 * _typical(abs(e - middle) for e, _ in errors.values())
            noise = middle
            limit = max(LEAST_LIMIT, middle + FAR * scatter)
        assert fit is not None
        return fit, {k: errors[k] for k in accepted}

    def _begun(self, placement: Placement) -> Placement:
        """Offsets and the clock anew: the blocks' joints are what the log has at the footage's own offset."""
        return replace(placement, offsets={}, clock=self.footage.clock_offset or 0.0)

    def _setup(self, blocks: Sequence[Block]) -> Setup:
        given = {m.name for m in self.footage.markers if m.mount is not None}
        seen = {b.marker for b in blocks} - {""}
        rates = None
        if self.footage.estimate_clock and self.footage.log is not None:
            rates = rates_of(self.footage.log, [self._times.get(b.group, 0.0) for b in blocks])
        return Setup(
            self.footage.robot, self.intrinsics, self._links, list(dict.fromkeys(b.camera for b in blocks)),
            sorted(seen - given), self._offsets, rates,
        )  # fmt: skip

    @property
    def _times(self) -> dict[str, float]:
        offset = self.footage.clock_offset or 0.0
        return {f.moment: (f.time or 0.0) + offset for f in self.footage.frames}

    def _marker_blocks(self, accepted: Mapping[int, tuple[float, int]], noise: float) -> list[Block]:
        """Images as blocks: what corners are off by is nearly all theirs in common, so that many don't count for more,
        and images that are further off than others count for less.

        Args:
            noise: typical root mean square error of an image, pixels.
        """
        blocks = []
        for k, (error, way) in accepted.items():
            seen = self.observations[k]
            frame, marker = self.footage.frames[seen.frame], self.footage.marker(seen.marker)
            count = len(seen.corners)
            floor = max(noise, 0.02)
            variance = CORNER_NOISE**2 + count * floor**2 / 2 * (1 + (error / (TAIL * floor)) ** 2)
            blocks.append(Block(
                frame.camera, marker.link, marker.name, frame.positions or {}, self._views[k].points[way], seen.corners,
                np.broadcast_to(variance * np.eye(2), (count, 2, 2)), frame.moment,
            ))  # fmt: skip
        return blocks

    # -------------------------------------------------------------------------------------------------------- outcome

    def check_sizes(self, fit: Fit, accepted: Mapping[int, tuple[float, int]]) -> None:
        """Refuse a marker that the robot moves by other lengths than its size makes of them.

        Raises:
            UserError: naming the marker and both lengths.
        """
        blocks = [*self._marker_blocks(accepted, _typical(e for e, _ in accepted.values())), *self._blocks]
        moments = {b.marker: {o.group for o in blocks if o.marker == b.marker} for b in blocks if b.marker}
        names = [n for n, own in moments.items() if len(own) >= SIZE_LEAST]
        if not names:
            return
        setup = replace(self._setup(blocks), sizes=names)
        sized = solve(setup, blocks, self._begun(fit.placement), Options(kernel="cauchy", scale=3.0))
        first = 6 * (len(setup.cameras) + len(setup.mounts)) + len(setup.offsets)
        for k, name in enumerate(names):
            size, deviation = sized.placement.sizes[name], float(np.sqrt(sized.covariance[first + k, first + k]))
            if sized.determined and abs(size - 1) > max(SIZE_OFF, SIZE_SURE * deviation):
                marker = self.footage.marker(name)
                squares = marker.kind in ("checkerboard", "charuco")
                what, length = ("squares", marker.square) if squares else ("markers", marker.side)
                raise UserError(
                    f"By the robot's motions the {what} of {name} are {size * length * 1e3:.1f} ± "
                    f"{SIZE_SURE / 2 * deviation * length * 1e3:.1g} mm wide, not the {length * 1e3:g} mm in "
                    f"{self.footage.source}: measure them, and if they are right, check the robot and the intrinsics"
                )

    def check_moved(self, fit: Fit, accepted: Mapping[int, tuple[float, int]]) -> None:
        """Refuse a camera whose contradicting images agree with one another about another place.

        Raises:
            UserError: naming the camera and the frames.
        """
        for camera in self.footage.cameras:
            off = [k for k in self.usable if self._camera_of(k) == camera.name and k not in accepted]
            own = len(off) + sum(self._camera_of(k) == camera.name for k in accepted)
            self._check_halves(camera, [e for k, (e, _) in accepted.items() if self._camera_of(k) == camera.name])
            marker = _most_frequent(self.observations[k].marker for k in off)
            if len(off) < max(MOVED_LEAST, MOVED_SHARE * own) or marker not in fit.placement.mounts:
                continue
            between = sum(min(off) <= k <= max(off) for k in accepted if self._camera_of(k) == camera.name)
            if len(off) < MOVED_STRETCH * (len(off) + between):
                continue  # single images here and there are wrong records
            views = [self._views[k] for k in off if self.observations[k].marker == marker]
            intrinsics, mount = self.intrinsics[camera.name], fit.placement.mounts[marker]
            found = placed_together(views, intrinsics, None, mount)
            if found is None:
                continue
            error = _typical(error_of(v, intrinsics, found[0], mount)[0] for v in views)
            if error > 3 * max(LEAST_LIMIT, _typical(e for e, _ in accepted.values())):
                continue
            shift = found[0] @ invert(fit.placement.cameras[camera.name])
            angle = math.degrees(math.acos(float(np.clip((np.trace(shift[:3, :3]) - 1) / 2, -1, 1))))
            first, last = (self.footage.frames[self.observations[k].frame].name for k in (min(off), max(off)))
            raise UserError(
                f"The camera {camera.name} has moved: from {first} to {last} it is "
                f"{np.linalg.norm(shift[:3, 3]) * 1e3:.0f} mm and {angle:.1f} degrees from where the other images have "
                "it; give these frames as a camera of their own"
            )

    def _check_halves(self, camera: Camera, errors: Sequence[float]) -> None:
        """Refuse a camera whose images fit no place, but where those before and those after some frame fit one each.

        Raises:
            UserError: naming the camera and the frame.
        """
        own = sorted(
            (k for k in self.usable if self._camera_of(k) == camera.name), key=lambda k: self.observations[k].frame
        )
        marker = _most_frequent(self.observations[k].marker for k in own)
        own = [k for k in own if self.observations[k].marker == marker]
        if _typical(errors) < BAD_FIT or len(own) < 2 * MOVED_LEAST:
            return
        views, intrinsics = [self._views[k] for k in own], self.intrinsics[camera.name]
        mount = self.footage.marker(marker).mount
        best: tuple[float, int] = (math.inf, 0)
        for cut in sorted({int(c) for c in np.linspace(MOVED_LEAST, len(own) - MOVED_LEAST, HALVES)}):
            found = [placed_together(part, intrinsics, None, mount) for part in (views[:cut], views[cut:])]
            best = min(best, (max(math.inf if f is None else f[2] for f in found), cut))
        if best[0] < _typical(errors) / 3:
            name = self.footage.frames[self.observations[own[best[1]]].frame].name
            raise UserError(
                f"The camera {camera.name} has moved, about at {name}: the images before it and those from it on have "
                "it at different places; give one of both as a camera of its own"
            )

    def result(
        self,
        fit: Fit,
        accepted: Mapping[int, tuple[float, int]],
        clock: tuple[float, float] | None,
        warnings: list[str],
    ) -> Calibration:
        """What is reported."""
        setup = self._setup([*self._marker_blocks(accepted, 1.0), *self._blocks])
        placement = fit.placement
        cameras = {}
        first = 6 * (len(setup.cameras) + len(setup.mounts))
        for k, name in enumerate(setup.cameras):
            part = slice(6 * k, 6 * k + 6)
            both = [*range(6 * k, 6 * k + 6), *range(first, first + len(setup.offsets))]
            errors = [e for j, (e, _) in accepted.items() if self._camera_of(j) == name]
            cameras[name] = CameraResult(
                self.footage.camera(name), placement.cameras[name], fit.covariance[part, part],
                fit.covariance[np.ix_(both, both)], fit.without[:, part], tuple(errors),
            )  # fmt: skip
        base = 6 * len(setup.cameras)
        mounts = {n: fit.covariance[base + 6 * k : base + 6 * k + 6, base + 6 * k : base + 6 * k + 6]
                  for k, n in enumerate(setup.mounts)}  # fmt: skip
        base += 6 * len(setup.mounts)
        offsets = {
            n: (placement.offsets[n], float(np.sqrt(fit.covariance[base + k, base + k])))
            for k, n in enumerate(setup.offsets)
        }
        observations = tuple(self._judged(k, o, placement, accepted) for k, o in enumerate(self.observations))
        markers = tuple(
            replace(m, mount=placement.mounts[m.name]) if m.name in placement.mounts else m
            for m in self.footage.markers
        )
        for marker in markers:
            if marker.mount is None:
                warnings.append(f"The marker {marker.name} is seen in too few good images: its mount is not known.")
        own = fit.residuals[len(fit.residuals) - len(self._blocks) :] if self._blocks else ()
        keypoints = float(np.sqrt(np.mean([(r**2).sum(1).mean() for r in own]))) if own else None
        return Calibration(
            replace(self.footage, markers=markers), cameras, mounts, offsets, clock, observations, keypoints,
            tuple(warnings),
        )  # fmt: skip

    def _judged(
        self, k: int, seen: MarkerObservation, placement: Placement, accepted: Mapping[int, tuple[float, int]]
    ) -> MarkerObservation:
        """An observation whose corners are counted, and whose pose is chosen, as the joints have it."""
        if k not in self._views or seen.marker not in placement.mounts:
            return seen
        camera, view = self._camera_of(k), self._views[k]
        if placement.offsets:
            view = replace(view, link=self._shifted_link(seen, placement))
        pose, mount = placement.cameras[camera], placement.mounts[seen.marker]
        expected = pose @ view.link @ mount
        error, way = error_of(view, self.intrinsics[camera], pose, mount)
        if k not in accepted:
            reason = f"The image {CONTRADICTS}: the marker is {error:.1f} pixels from where they have it."
            return replace(seen, quality=replace(seen.quality, reasons=(*seen.quality.reasons, reason)))
        points = view.points[way]
        turned = seen.poses
        if way:
            # The same corners, counted otherwise: T_cam_counted = T_cam_found · T_found_counted.
            recount = _recounting(seen.points, points)
            turned = seen.poses @ recount
        apart = [float(np.trace(p[:3, :3].T @ expected[:3, :3])) for p in turned]
        order = np.argsort(apart)[::-1]
        reasons = tuple(r for r in seen.quality.reasons if r != AMBIGUOUS_REASON)
        return replace(
            seen, points=points, poses=turned[order], quality=replace(seen.quality, reasons=reasons)
        )  # fmt: skip


def _recounting(before: Floats, after: Floats) -> Floats:
    """The rigid motion ``(4, 4)`` in the board's plane that takes points ``after`` ``(N, 3)`` to ``before``."""
    a, b = after - after.mean(0), before - before.mean(0)
    cosine = float((a[:, :2] * b[:, :2]).sum())
    sine = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())
    angle = math.atan2(sine, cosine)
    motion = np.eye(4)
    motion[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    motion[:3, 3] = before.mean(0) - motion[:3, :3] @ after.mean(0)
    return motion


def _settled(now: Mapping[int, tuple[float, int]], before: Mapping[int, tuple[float, int]]) -> bool:
    """Whether the same images have nearly the same errors."""
    return all(abs(error - before[k][0]) <= SETTLED * (error + SETTLED) for k, (error, _) in now.items())


def _typical(values: Iterable[float]) -> float:
    known = list(values)
    return float(np.median(known)) if known else 0.0


def _most_frequent(names: Iterable[str]) -> str:
    counted = Counter(names).most_common(1)
    return counted[0][0] if counted else ""


def _why_unusable(footage: Footage, observations: Sequence[MarkerObservation], camera: str = "") -> str:
    """What to do about images none of which can be used."""
    own = [o for o in observations if camera in ("", footage.frames[o.frame].camera)]
    unlogged = sum(footage.frames[o.frame].positions is None for o in own)
    if own and unlogged * 2 > len(own):
        return f"the joint log says nothing of {unlogged} of {len(own)} images with a marker, so give a longer one"
    reasons = [r for o in own for r in o.quality.reasons]
    if not reasons:
        return f"give more images that show a marker of {footage.source}"
    kinds = {r.split(":")[0].rstrip(" 0123456789.%"): r for r in reasons}
    most = max(kinds, key=lambda kind: sum(r.startswith(kind) for r in reasons))
    return f"most of the images are of no use ({kinds[most].rstrip('.')}), so give better ones"
