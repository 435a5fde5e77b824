# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints predict``: a model's keypoints on images, videos and a webcam."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...core import files
from ...core.errors import UserError, one_line
from ...core.names import free_name
from ..inference import image_sources
from ..inference.camera_calibration import RestingCamera
from ..inference.camera_size import CameraSize, Size
from ..inference.image_overlay import draw_keypoints
from ..inference.image_sources import Picture, Source
from ..inference.joint_deviations import check_deviation
from ..inference.pose_arguments import check_outline
from ..inference.pose_finder import PoseFinder
from ..inference.pose_text import pose_lines
from ..inference.predictor import Fit, Found, Predictor, in_whole
from ..inference.video_overlay import VideoOverlay
from ..networks import device
from ..networks.two_passes import MOVING, STILL, Inspection


@dataclass(frozen=True)
class PredictOptions:
    """What was asked for.

    Attributes:
        images: see :func:`.image_sources.find`.
        overlay: folder for copies with keypoints drawn on: ``.png`` of images, ``.mp4`` of videos.
        out: file that gets one line of JSON for each picture, as soon as it is known.
        frames: the most to take of a video or webcam.
        scales: sizes of which the belief maps are averaged; None is :data:`.STILL` for single pictures, and
            :data:`.MOVING` for others.
        peaks: see :meth:`.Predictor.predict`.
        camera, joints, joints_deviation, robot, outline: see :meth:`.PoseFinder.of`; without a camera no pose is
            solved. Only single pictures are looked at for outlines.
        camera_size: width and height of the pictures that the camera's numbers are of; None is those of all.
        joints_by_image: see :meth:`.RestingCamera.of`; the images are then solved together, too.
        decoder: see :meth:`.Predictor.load`.
    """

    model: Path
    images: Sequence[str]
    overlay: Path | None = None
    out: Path | None = None
    frames: int | None = None
    scales: Sequence[float] | None = None
    peaks: int = 0
    camera: str | None = None
    camera_size: Size | None = None
    joints: str | None = None
    joints_deviation: str | None = None
    robot: Path | None = None
    outline: bool = False
    joints_by_image: Path | None = None
    decoder: str | None = None


def predict(options: PredictOptions, *, as_json: bool = False) -> int:
    """Predict, tell, draw. What can't be read is named and left out.

    Raises:
        UserError: if anything that was given is of no use, or after all is told, if something was left out.
    """
    _check(options)
    sources = image_sources.find(options.images)
    endless = any(s.kind == "webcam" for s in sources) and options.frames is None
    if endless and as_json:
        raise UserError("A webcam never ends, so it gives no single JSON object: add --frames N, or use --out FILE")
    predictor = Predictor.load(options.model, device.choose("auto"), options.decoder)
    finder = _finder(options, predictor)
    if isinstance(finder, RestingCamera):
        for source in sources:
            finder.finder(source.name)  # before anything is written
    if options.overlay is not None:
        _make(options.overlay)
    if options.out is not None:
        _create(options.out)
    results = _Results(options, as_json)
    failure: UserError | None = None
    try:
        with closing(_entries(options, sources, predictor, finder)) as entries:
            for entry in entries:
                results.add(entry)
    except KeyboardInterrupt:
        if not endless:
            raise
    except UserError as problem:
        if not results.count:
            raise
        failure = problem  # what was found before is not lost
    finally:
        results.close()
    together = finder.solve() if isinstance(finder, RestingCamera) else None
    results.conclude(predictor, together)
    if failure is not None:
        raise failure
    if results.unreadable:
        raise UserError(
            f"{len(results.unreadable)} of {len(sources)} images and videos could not be read whole (see above): "
            "what was found in the others is complete"
        )
    return 0


class _Results:
    """Tells what is found, as it comes and at the end."""

    def __init__(self, options: PredictOptions, as_json: bool) -> None:
        self._options = options
        self._as_json = as_json
        self._entries: list[dict[str, Any]] = []
        self.count = 0
        self.unreadable: list[dict[str, Any]] = []

    def add(self, entry: dict[str, Any]) -> None:
        if self._options.out is not None:
            files.append_json_line(self._options.out, entry)
        if "error" in entry:
            self.unreadable.append(entry)
            print(f"warning: {entry['error']}", file=sys.stderr, flush=True)
            return
        self.count += 1
        if self._as_json:
            self._entries.append(entry)
        else:
            print("\n".join(_lines(entry)), flush=True)

    def close(self) -> None:
        """Leave no file in which nothing is."""
        out = self._options.out
        if out is not None and not (self.count or self.unreadable):
            out.unlink(missing_ok=True)

    def conclude(self, predictor: Predictor, together: dict[str, Any] | None) -> None:
        if self._as_json:
            document = {
                "model": str(self._options.model),
                "skeleton": [list(edge) for edge in predictor.info.skeleton],
                "images": self._entries,
                "unreadable": self.unreadable,
            }
            print(json.dumps(document | ({} if together is None else {"pose": together}), allow_nan=False))
        elif together is not None:
            print("\n".join([f"all {together['images']} images together", *pose_lines(together)]))


def _finder(options: PredictOptions, predictor: Predictor) -> PoseFinder | RestingCamera | None:
    if options.camera is None:
        return None
    if options.joints_by_image is not None:
        return RestingCamera.of(predictor.info, options.camera, options.joints_by_image, options.robot)
    finder = PoseFinder.of(
        predictor.info, options.camera, options.joints, options.robot, options.joints_deviation, options.outline
    )
    if finder.missing:
        names = ", ".join(finder.missing)
        print(f"warning: The robot {finder.robot.name} has no {names}: the pose goes by the others", file=sys.stderr)
    return finder


def _check(options: PredictOptions) -> None:
    joints = [options.joints, options.joints_by_image]
    if options.camera is None and [*joints, options.robot, options.camera_size] != [None] * 4:
        raise UserError(
            "--joints, --robot and --camera-size are for the robot's pose, which needs --camera fx,fy,cx,cy: add it"
        )
    if None not in joints:
        raise UserError("--joints and --joints-by-image are both there: give one of them")
    check_outline(options.outline, options.joints_deviation, options.camera is not None)
    if options.outline and options.joints_by_image is not None:
        raise UserError(
            "--outline is for single pictures, and --joints-by-image solves all together: leave it out, or have "
            "robot-keypoints calibrate go by the outlines in all of them"
        )
    check_deviation(options.joints_deviation, options.joints)
    if options.frames is not None and options.frames < 1:
        raise UserError(f"--frames is {options.frames}: it must be at least 1")
    if not 0 <= options.peaks <= 100:
        raise UserError(f"--peaks is {options.peaks}: it must be between 0 and 100")
    if options.out is not None and options.out.exists():
        raise UserError(f"There is a file {options.out} already: choose another --out")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UserError(f"The folder {folder} can't be made ({problem.strerror}): choose another") from problem


def _create(path: Path) -> None:
    try:
        open(path, "xb").close()
    except OSError as problem:
        raise files.WriteError(path, problem) from problem


def _entries(
    options: PredictOptions,
    sources: Sequence[Source],
    predictor: Predictor,
    finder_or_all: PoseFinder | RestingCamera | None,
) -> Generator[dict[str, Any], None, None]:
    """What is found in each picture; of what can't be read, ``image`` and ``error``.

    Raises:
        UserError: if the only source can't be read at all, or something can't be written.
    """
    camera = CameraSize(options.camera_size)
    for source in sources:
        inspection = STILL if source.kind == "image" else MOVING
        if options.scales is not None:
            inspection = Inspection.averaged(options.scales)
        finder = finder_or_all.finder(source.name) if isinstance(finder_or_all, RestingCamera) else finder_or_all
        video: VideoOverlay | None = None
        if options.overlay is not None and source.kind != "image":
            name = Path(source.name).stem if source.kind == "video" else source.name.replace(":", "-")
            video = VideoOverlay(_free_file(options.overlay, name, ".mp4"), source.rate())
        try:
            for picture in _readable(source, options.frames, alone=len(sources) == 1):
                if isinstance(picture, UserError):
                    yield {"image": source.name, "error": str(picture)}
                    continue
                here, scale = finder, (1.0, 1.0)
                if finder is not None:
                    try:
                        scale = camera.scale(finder.numbers, one_line(source.name), picture.photograph.size)
                    except UserError as problem:
                        if len(sources) == 1:
                            raise
                        yield {"image": source.name, "error": str(problem)}
                        break
                    here = finder.resized(scale)
                (found,) = predictor.predict([picture.pixels], inspection, options.peaks)
                found = in_whole(found, picture.photograph)
                still = picture.photograph if source.kind == "image" else None
                pose = here.find(found, still) if here is not None else None
                if finder is not None and isinstance(finder_or_all, RestingCamera):
                    finder_or_all.add(finder, [k.to_image(Fit(*scale)) for k in found])
                if options.overlay is not None:
                    drawn = _drawn(picture, found, predictor, here, pose)
                    if video is not None:
                        video.add(np.asarray(drawn))
                    else:
                        _save(_free_file(options.overlay, Path(source.name).stem, ".png"), drawn)
                yield _entry(picture, found) | ({} if pose is None else {"pose": pose})
        except UserError:
            if video is not None:
                video.abandon()
            raise
        finally:
            # Ended by Ctrl-C, too: what was drawn until then is kept.
            if video is not None:
                video.close()


def _readable(source: Source, frames: int | None, *, alone: bool) -> Iterator[Picture | UserError]:
    """All pictures of a source, and then why there are no more, if that is none of its end.

    Raises:
        UserError: if it gives none, and is the only one or a webcam.
    """
    count = 0
    try:
        for picture in source.pictures(frames):
            count += 1
            yield picture
    except UserError as problem:
        if source.kind == "webcam" or (alone and not count):
            raise
        yield problem


def _save(path: Path, picture: Image.Image) -> None:
    with files.Replacement(path, ending=".png") as temporary:
        picture.save(temporary, "PNG")


def _drawn(
    picture: Picture, found: Sequence[Found], predictor: Predictor, finder: PoseFinder | None,
    pose: dict[str, Any] | None,
) -> Image.Image:  # fmt: skip
    """A copy with keypoints, outline and axes drawn on; of a very large picture it is a smaller one."""
    scale = picture.photograph.scale
    places = Fit(*scale).to_input(np.array([(k.u, k.v) for k in found]))
    drawn = draw_keypoints(picture.pixels, predictor.info, places.tolist(), [k.confidence for k in found])
    if finder is not None and pose is not None:
        here = finder.resized(scale)
        here.draw_outline(drawn, pose)
        here.draw_axes(drawn, pose)
    return drawn


def _entry(picture: Picture, found: Sequence[Found]) -> dict[str, Any]:
    entry: dict[str, Any] = {"image": picture.source}
    width, height = picture.photograph.width, picture.photograph.height
    if picture.frame is not None:
        entry |= {"frame": picture.frame, "seconds": picture.seconds}
    return {**entry, "width": width, "height": height, "keypoints": [k.to_dict() for k in found]}


def _lines(entry: dict[str, Any]) -> list[str]:
    frame = f" frame {entry['frame']} at {entry['seconds']:.2f} s" if "frame" in entry else ""
    lines = [f"{one_line(entry['image'])}{frame} ({entry['width']} × {entry['height']})"]
    for k in entry["keypoints"]:
        (uu, uv), (_, vv) = k["covariance"]
        spread = max(0.0, uu * vv - uv * uv) ** 0.25
        lines.append(f"  {k['name']:<24} {k['u']:8.1f} {k['v']:8.1f} ± {spread:4.1f} px   {k['confidence']:4.0%}")
        if len(k.get("peaks", ())) > 1:
            places = ", ".join(f"({p['u']:.1f}, {p['v']:.1f}) {p['score']:.0%}" for p in k["peaks"])
            lines.append(f"  {'':<24} peaks: {places}")
    return lines + (pose_lines(entry["pose"]) if "pose" in entry else [])


def _free_file(folder: Path, stem: str, suffix: str) -> Path:
    return folder / free_name(stem, lambda n: (folder / n).exists(), separator="-", ending=suffix)
