# SPDX-License-Identifier: GPL-3.0-or-later
"""``FOOTAGE.toml``: where a recording's images, joint positions and markers are. JSON of the same shape is read too.

::

    robot = "ur3e.urdf"                  # URDF or xacro; or --robot FILE

    [cameras.left]                       # any number of them, named as you like
    images = "left/*.png"                # folder, pattern, video, or a list of these
    intrinsics = [900, 900, 640, 360]    # fx, fy, cx, cy, then k1, k2, p1, p2, k3; or a ROS camera_info YAML or JSON
                                         # file; left out: estimated from the board
    on = "tool0"                         # link it is mounted on; left out: it rests beside the robot
    times = "left.csv"                   # columns file (or frame) and time; or "name": the number in the file's name
    fps = 30.0                           # instead of times: frames per second, from start on
    start = 0.0
    every = 5                            # of a video only each fifth frame
    depth = "left_depth/*.png"           # 16-bit images of millimetres, one for each image

    [markers.board]
    kind = "checkerboard"                # or "charuco", "grid" (of ArUco markers), "aruco" (AprilTags as well)
    inner_corners = [9, 7]               # checkerboard
    squares = [5, 7]                     # charuco
    markers = [4, 6]                     # grid
    square_m = 0.02                      # checkerboard and charuco
    marker_m = 0.015                     # charuco, grid and aruco: edge of the black square
    gap_m = 0.005                        # grid: between two markers
    dictionary = "DICT_4X4_50"           # charuco, grid and aruco
    id = 3                               # aruco (ids = [3, 4] are several), and a grid's first marker
    on = "tool0"                         # link it is mounted on; left out: it rests in the room
    mount = [[1, 0, 0, 0], …]            # T_link_marker, 4 x 4; left out: estimated

    [joint_log]
    file = "joints.csv"                  # CSV, JSON, Parquet, the folder of a LeRobot data set or of a rosbag2
    unit = "radians"                     # or "degrees"
    time = "time"                        # the column of the time, in seconds
    columns = {q1 = "shoulder_pan_joint"}   # where columns and joints have different names
    clock_offset = 0.0                   # added to the images' times; or "estimate"

Instead of a ``joint_log``, ``[joints.KEY]`` has the positions of one pose, where KEY is an image's file name. And in
place of ``images``, single frames may be listed: ``frames = [{camera = "left", file = "left_01.jpg", pose = 1}, …]``,
whose ``pose`` is the KEY; a frame may have its own ``time`` or ``joints``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import UserError
from ...core.input_files import read_json, read_toml
from ...core.robot.robot import Robot
from ...core.robot.urdf_reader import load_urdf
from ..images.image_file import size_of
from ..inference.image_sources import Source, find
from .intrinsics_file import Size, given_intrinsics
from .joint_log import JointLog, check_positions, read_csv_rows, read_joint_log, time_column
from .recording import KINDS, ROOM, Camera, Footage, Frame, Marker

MOST_FRAMES = 200_000
TOGETHER = 0.002
"""Seconds within which frames of several cameras count as taken at once."""

ROOM_NAMES = ("", "room", "world", "base")
UNITS = ("radians", "degrees")

TOP = ("robot", "cameras", "marker", "markers", "frames", "joints", "joint_log", "camera_size", "unit")
CAMERA = (
    "images", "intrinsics", "K", "distortion", "on", "times", "fps", "start", "every", "depth",
)  # fmt: skip
MARKER = (
    "kind", "inner_corners", "squares", "markers", "square_m", "marker_m", "gap_m", "dictionary", "id", "ids", "legacy",
    "on", "mount",
)  # fmt: skip
LOG = ("file", "unit", "time", "columns", "clock_offset", "episode", "topic")
FRAME = ("camera", "file", "pose", "time", "joints")


@dataclass(frozen=True)
class _Table:
    """A table of the file, each of whose values is checked when it is asked for."""

    values: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: Any, where: str, known: Sequence[str]) -> _Table:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a table, not {value!r}")
        for key in value:
            if key not in known:
                raise UserError(f"{where}: there is no setting {key!r}; known here: {', '.join(known)}")
        return cls(value, where)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.values.get(key, default)
        if not isinstance(value, str) or (default is None and not value):
            raise UserError(
                f"{self.where}: {key} must be a text, not {value!r}" if key in self.values else self._lacks(key)
            )
        return value

    def number(self, key: str, default: float | None = None, low: float = -math.inf) -> float:
        value = self.values.get(key, default)
        if value is None:
            raise UserError(self._lacks(key))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise UserError(f"{self.where}: {key} must be a number, not {value!r}")
        if value <= low:
            raise UserError(f"{self.where}: {key} must be more than {low:g}, not {value:g}")
        return float(value)

    def whole(self, key: str, default: int | None = None, low: int = 0) -> int:
        number = self.number(key, default)
        if number != int(number) or number < low:
            raise UserError(f"{self.where}: {key} must be a whole number of at least {low}, not {number:g}")
        return int(number)

    def pair(self, key: str, low: int) -> tuple[int, int]:
        value = self.values.get(key)
        if value is None:
            raise UserError(self._lacks(key))
        good = isinstance(value, list) and len(value) == 2 and all(type(v) is int and low <= v <= 200 for v in value)
        if not good:
            raise UserError(f"{self.where}: {key} must be two whole numbers from {low} to 200, not {value!r}")
        return value[0], value[1]

    def _lacks(self, key: str) -> str:
        return f"{self.where}: {key} is missing"


def load_footage(path: Path, robot: Path | None = None) -> Footage:
    """Read ``FOOTAGE.toml``, or JSON of the same shape; images themselves are not read yet.

    Args:
        robot: the URDF, instead of what the file says.

    Raises:
        UserError: naming what can't be used.
    """
    try:
        return _load(path, robot)
    except OSError as problem:  # of looking for a file, as where its name is too long
        raise UserError(f"{path} names a file that can't be looked up ({problem.strerror}): name another") from problem


def _load(path: Path, robot: Path | None) -> Footage:
    data: Any
    if path.suffix.lower() == ".json":
        data = read_json(path, "give a FOOTAGE.toml, or JSON of the same shape")
    else:
        data = read_toml(path, "give a FOOTAGE.toml")
    top = _Table.of(data, str(path), TOP)
    folder = path.resolve().parent
    body = _robot(top, folder, robot)
    cameras = _tables(data, "cameras", "camera", str(path))
    if not cameras:
        raise UserError(f"{path} has no cameras: add [cameras.NAME]")
    taken = {
        name: _frames(_Table.of(t, f"{path}: cameras.{name}", CAMERA), name, folder) for name, t in cameras.items()
    }
    for k, entry in enumerate(_list(data.get("frames", []), f"{path}: frames")):
        frame = _listed(_Table.of(entry, f"{path}: frames[{k + 1}]", FRAME), taken, folder)
        if any(taken[frame.camera][0].index is not None for _ in taken[frame.camera][:1]):
            raise UserError(f"{path}: the camera {frame.camera} has a video and single frames: give one of them")
        taken[frame.camera].append(frame)
    read = [
        _camera(_Table.of(t, f"{path}: cameras.{name}", CAMERA), name, taken[name], body, folder)
        for name, t in cameras.items()
    ]
    frames = [f for camera in read for f in taken[camera.name]]
    if len(frames) > MOST_FRAMES:
        raise UserError(f"{path} has {len(frames):,} frames: give at most {MOST_FRAMES:,}, or a larger every")
    frames, offset, estimate, log = _with_positions(top, frames, body, folder)
    return Footage(
        path, body, tuple(read), tuple(_markers(data, path, body)), tuple(frames), offset, estimate, log
    )  # fmt: skip


def _robot(top: _Table, folder: Path, given: Path | None) -> Robot:
    if given is not None:
        return load_urdf(given)
    name = top.text("robot", "")
    path = folder / name
    if not name or not path.is_file():
        said = f"has the robot {name!r}, which is no file" if name else "names no robot"
        raise UserError(f"{top.where} {said}: give its URDF there or by --robot FILE")
    return load_urdf(path)


def _tables(data: Mapping[str, Any], key: str, single: str, where: str) -> dict[str, Any]:
    value = data.get(key, {})
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: {key} must be tables by name, such as [{key}.{single}], not {value!r}")
    return dict(value)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise UserError(f"{where} must be a list, not {value!r}")
    return value


def link_of(table: _Table, robot: Robot) -> str:
    """The link that something is mounted on, :data:`ROOM` for the base."""
    name = table.text("on", ROOM)
    if name == robot.root or (name in ROOM_NAMES and name not in robot.links):
        return ROOM
    if name not in robot.links:
        raise UserError(
            f"{table.where}: the robot {robot.name} has no link {name!r}: choose from {', '.join(robot.links)}"
        )
    return name


# ----------------------------------------------------------------------------------------------------------- cameras


def _frames(table: _Table, name: str, folder: Path) -> list[Frame]:
    """The frames of ``images``, with their times."""
    given = table.values.get("images", [])
    words = [given] if isinstance(given, str) else _list(given, f"{table.where}: images")
    if not all(isinstance(w, str) and w for w in words):
        raise UserError(f"{table.where}: images must be a folder, a pattern, a video or a list of these, not {given!r}")
    sources = find([str(folder / w) for w in words]) if words else []
    kinds = {s.kind for s in sources}
    if kinds - {"image", "video"} or len(kinds) > 1:
        raise UserError(f"{table.where}: images must be all image files, or all videos: give a camera for each")
    every, start = table.whole("every", 1, 1), table.number("start", 0.0)
    if kinds == {"video"}:
        if len(sources) > 1:
            raise UserError(f"{table.where}: there are {len(sources)} videos: give a camera for each")
        frames, rate = _video_frames(sources[0], name, every)
    else:
        frames, rate = [Frame(name, Path(s.name)) for s in sources][::every], 0.0
    frames = _with_times(table, frames, table.number("fps", rate, -1e-9), start, folder)
    return _with_depth(table, frames, folder)


def _video_frames(source: Source, name: str, every: int) -> tuple[list[Frame], float]:
    rate, count, _ = source.video_facts()
    if count < 1:
        raise UserError(f"{source.name} is a video without frames: record it again")
    if count // every > MOST_FRAMES:
        raise UserError(f"{source.name} has {count:,} frames: set every to take fewer of them")
    return [Frame(name, Path(source.name), k) for k in range(0, count, every)], rate


def _with_times(table: _Table, frames: list[Frame], rate: float, start: float, folder: Path) -> list[Frame]:
    times = table.text("times", "")
    if times == "name":
        return [replace(f, time=start + time_in_name(f.path, table.where)) for f in frames]
    if times:
        known = _read_times(folder / times)
        result = []
        for k, f in enumerate(frames):
            at = next((known[key] for key in _keys(f, k) if key in known), None)
            if at is None:
                raise UserError(f"{folder / times} has no time of {f.name}: add it")
            result.append(replace(f, time=start + at))
        return result
    if rate <= 0:
        if frames and frames[0].index is not None:
            raise UserError(f"{frames[0].path} doesn't say how many frames a second it has: set fps or times")
        return frames
    return [replace(f, time=start + (k if f.index is None else f.index) / rate) for k, f in enumerate(frames)]


def _keys(frame: Frame, place: int) -> Iterator[str]:
    if frame.index is not None:
        yield str(frame.index)
        return
    yield from (str(frame.path), frame.path.name, frame.path.stem, str(place))


def _read_times(path: Path) -> dict[str, float]:
    header, rows = read_csv_rows(path, 256 << 20)
    key = next((n for n in ("file", "image", "filename", "frame", "index") if n in header), None)
    if key is None:
        raise UserError(f"{path} has no column file, nor frame: it has {', '.join(header)}")
    column = time_column(path, header, "")
    try:
        return {row[header.index(key)].strip(): float(row[header.index(column)]) for row in rows}
    except ValueError as problem:
        raise UserError(f"{path} has a time that is no number of seconds ({problem}): write it so") from problem


def time_in_name(path: Path, where: str) -> float:
    """Seconds from the last number in a file's name; numbers of 13, 16 and 19 digits are milli-, micro- and nanoseconds
    since 1970.

    Raises:
        UserError: if there is none.
    """
    numbers = re.findall(r"\d+(?:\.\d+)?", path.stem)
    if not numbers:
        raise UserError(f"{where}: the name of {path.name} has no number, and so no time: give times as a CSV file")
    text = numbers[-1]
    return float(text) * {13: 1e-3, 16: 1e-6, 19: 1e-9}.get(len(text), 1.0)


def _with_depth(table: _Table, frames: list[Frame], folder: Path) -> list[Frame]:
    depth = table.text("depth", "")
    if not depth:
        return frames
    sources = find([str(folder / depth)])
    every = table.whole("every", 1, 1)
    sources = sources[::every]
    if len(sources) != len(frames):
        raise UserError(f"{table.where}: there are {len(sources)} depth images for {len(frames)} images: give one each")
    return [replace(f, depth=Path(s.name)) for f, s in zip(frames, sources, strict=True)]


def _listed(table: _Table, taken: Mapping[str, list[Frame]], folder: Path) -> Frame:
    """A frame of ``frames``; its pose stands in :attr:`Frame.moment`, and its own joints in :attr:`Frame.positions`."""
    camera = table.text("camera")
    if camera not in taken:
        raise UserError(f"{table.where}: there is no camera {camera!r}: it is one of {', '.join(taken)}")
    name = table.text("file")
    # Such a list often stands beside the folder of its images.
    path = next((p for p in (folder / name, folder / "images" / name) if p.is_file()), folder / name)
    pose = table.values.get("pose", "")
    if isinstance(pose, bool) or not isinstance(pose, (str, int)):
        raise UserError(f"{table.where}: pose must be a name or a whole number, not {pose!r}")
    joints = table.values.get("joints")
    return Frame(
        camera, path, time=table.number("time") if "time" in table.values else None, moment=str(pose),
        positions=None if joints is None else _positions(joints, f"{table.where}: joints"),
    )  # fmt: skip


def _positions(value: Any, where: str) -> dict[str, float]:
    good = isinstance(value, Mapping) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in value.values()
    )
    if not good:
        raise UserError(f"{where} must be a number for each joint, not {value!r}")
    return {str(k): float(v) for k, v in value.items()}


def _camera(table: _Table, name: str, frames: Sequence[Frame], robot: Robot, folder: Path) -> Camera:
    if not frames:
        raise UserError(f"{table.where} has no images: set images, or list frames")
    size = _common_size(frames)
    link = link_of(table, robot)
    given = [k for k in ("intrinsics", "K") if k in table.values]
    if not given:
        return Camera(name, None, link, size)
    value = table.values["intrinsics"] if given[0] == "intrinsics" else {
        "K": table.values["K"], "distortion": table.values.get("distortion", []),
    }  # fmt: skip
    return Camera(name, given_intrinsics(value, size, table.where, folder), link, size)


def _common_size(frames: Sequence[Frame]) -> Size:
    if frames[0].index is not None:
        return Source(str(frames[0].path), "video").video_facts()[2]
    first = size_of(frames[0].path)
    for frame in frames[1:]:
        size = size_of(frame.path)
        if size != first:
            raise UserError(
                f"{frame.path} has {size[0]} x {size[1]} pixels, and {frames[0].path.name} has {first[0]} x "
                f"{first[1]}: give a camera for each size of image"
            )
    return first


# ----------------------------------------------------------------------------------------------------------- markers


def _markers(data: Mapping[str, Any], path: Path, robot: Robot) -> Iterator[Marker]:
    tables = _tables(data, "markers", "board", str(path))
    if "marker" in data:
        tables = {"marker": data["marker"], **tables}
    for name, value in tables.items():
        yield from _marker(_Table.of(value, f"{path}: markers.{name}", MARKER), name, robot)


def _marker(table: _Table, name: str, robot: Robot) -> Iterator[Marker]:
    kind = table.text("kind")
    kind = "aruco" if kind in ("apriltag", "april") else kind
    if kind not in KINDS:
        raise UserError(f"{table.where}: kind must be one of {', '.join(KINDS)}, not {kind!r}")
    link, mount = link_of(table, robot), _mount(table)
    legacy = table.values.get("legacy", False)
    if not isinstance(legacy, bool):
        raise UserError(f"{table.where}: legacy must be true or false, not {legacy!r}")
    if kind == "checkerboard":
        yield Marker(
            name, kind, table.pair("inner_corners", 3), table.number("square_m", low=0), link=link, mount=mount
        )
        return
    side, dictionary = table.number("marker_m", low=0), _dictionary(table)
    if kind == "charuco":
        square = table.number("square_m", low=0)
        if side >= square:
            raise UserError(f"{table.where}: marker_m must be smaller than square_m: {side:g} and {square:g} are given")
        yield Marker(name, kind, table.pair("squares", 2), square, side, dictionary, None, legacy, link, mount)
        return
    if kind == "grid":
        square = side + table.number("gap_m", low=0)
        first = table.whole("id", 0)
        yield Marker(name, kind, table.pair("markers", 1), square, side, dictionary, first, legacy, link, mount)
        return
    plain = Marker(name, kind, side=side, dictionary=dictionary, link=link, mount=mount)
    if "ids" in table.values:
        ids = _list(table.values["ids"], f"{table.where}: ids")
        if not ids or not all(type(i) is int and i >= 0 for i in ids) or len(set(ids)) < len(ids):
            raise UserError(f"{table.where}: ids must be different whole numbers, not {ids!r}")
        if mount is not None and len(ids) > 1:
            raise UserError(f"{table.where}: several markers can't have one mount: give a table for each")
        yield from (replace(plain, name=f"{name}/{i}", number=i) for i in ids)
        return
    yield replace(plain, number=table.whole("id")) if "id" in table.values else plain


def _dictionary(table: _Table) -> str:
    """OpenCV's name of a dictionary, which may be given without ``DICT_`` and in small letters."""
    import cv2

    given = table.text("dictionary")
    name = given if given.upper().startswith("DICT_") else f"DICT_{given}"
    known = [n for n in dir(cv2.aruco) if n.startswith("DICT_")]
    found = next((n for n in known if n.lower() == name.lower()), None)
    if found is None:
        raise UserError(f"{table.where}: there is no dictionary {given!r}: choose from {', '.join(known)}")
    return found


def _mount(table: _Table) -> Any:
    if "mount" not in table.values:
        return None
    try:
        matrix = np.array(table.values["mount"], dtype=np.float64)
    except (TypeError, ValueError) as problem:
        raise UserError(f"{table.where}: mount must be 4 x 4 numbers, T_link_marker in metres") from problem
    rotation = matrix[:3, :3] if matrix.shape == (4, 4) else np.zeros((3, 3))
    rigid = np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3 and np.linalg.det(rotation) > 0
    if not (rigid and np.isfinite(matrix).all() and np.allclose(matrix[3], (0, 0, 0, 1))):
        raise UserError(f"{table.where}: mount must be a rigid motion T_link_marker of 4 x 4 numbers, in metres")
    u, _, vt = np.linalg.svd(rotation)
    matrix[:3, :3] = u @ vt
    return matrix


# ------------------------------------------------------------------------------------------------------------ joints


def _with_positions(
    top: _Table, frames: list[Frame], robot: Robot, folder: Path
) -> tuple[list[Frame], float | None, bool, JointLog | None]:
    """The frames with moments and joint positions; the clock's offset, whether it is to be estimated, and the log."""
    _check_order(frames)
    unit = top.text("unit", "radians")
    if unit not in UNITS:
        raise UserError(f"{top.where}: unit must be one of {', '.join(UNITS)}, not {unit!r}")
    if "joint_log" in top.values:
        if "joints" in top.values:
            raise UserError(f"{top.where} has joints and a joint_log: give one of them")
        return _logged(_Table.of(top.values["joint_log"], f"{top.where}: joint_log", LOG), frames, robot, folder)
    poses = _poses(top, robot, unit)
    result = []
    for frame in frames:
        if frame.positions is not None:
            positions = _checked(frame.positions, f"{top.where}: {frame.name}", robot, unit)
            result.append(replace(frame, positions=positions, moment=frame.moment or frame.name))
            continue
        keys = [frame.moment] if frame.moment else [frame.path.name, frame.path.stem]
        key = next((k for k in keys if k in poses), None)
        result.append(replace(frame, positions=None if key is None else poses[key], moment=key or frame.name))
    if not any(f.positions is not None for f in result):
        raise UserError(f"{top.where} has joint positions of no image: add a joint_log, or [joints.KEY] for each image")
    return result, None, False, None


def _poses(top: _Table, robot: Robot, unit: str) -> dict[str, dict[str, float]]:
    tables = top.values.get("joints", {})
    if not isinstance(tables, Mapping):
        raise UserError(f"{top.where}: joints must be tables of positions by pose, not {tables!r}")
    return {
        key: _checked(_positions(t, f"{top.where}: joints.{key}"), f"{top.where}: joints.{key}", robot, unit)
        for key, t in tables.items()
    }


def _checked(values: Mapping[str, float], where: str, robot: Robot, unit: str) -> dict[str, float]:
    joints = {j.name: j for j in robot.moving_joints}
    for name in values:
        if name not in joints:
            raise UserError(f"{where}: the robot {robot.name} has no joint {name!r}: it has {', '.join(joints)}")
    missing = [n for n, j in joints.items() if n not in values and not j.fixed]
    if missing:
        raise UserError(f"{where} has no position of the joint {missing[0]}: add it")
    turned = {
        n: math.radians(v) if unit == "degrees" and joints[n].kind != "prismatic" else v for n, v in values.items()
    }
    check_positions(where, robot, turned, unit)
    return turned


def _logged(
    table: _Table, frames: list[Frame], robot: Robot, folder: Path
) -> tuple[list[Frame], float, bool, JointLog]:
    unit = table.text("unit", "radians")
    if unit not in UNITS:
        raise UserError(f"{table.where}: unit must be one of {', '.join(UNITS)}, not {unit!r}")
    columns = table.values.get("columns", {})
    if not (isinstance(columns, Mapping) and all(isinstance(v, str) for v in columns.values())):
        raise UserError(f"{table.where}: columns must be a table of joints by the log's columns, not {columns!r}")
    estimate = table.values.get("clock_offset") == "estimate"
    offset = 0.0 if estimate else table.number("clock_offset", 0.0)
    episode = table.whole("episode") if "episode" in table.values else None
    raw = read_joint_log(folder / table.text("file"), table.text("time", ""), episode, table.text("topic", ""))
    log = raw.of_robot(robot, columns, unit)
    untimed = next((f for f in frames if f.time is None), None)
    if untimed is not None:
        raise UserError(f"{table.where}: nothing says when {untimed.name} was taken: set the camera's times or fps")
    result = [replace(f, positions=log.at((f.time or 0.0) + offset)) for f in _with_moments(frames)]
    if not any(f.positions is not None for f in result):
        first, last = (min if k == 0 else max for k in (0, 1))
        shown = [f.time or 0.0 for f in frames]
        raise UserError(
            f"{log.file} runs from {log.times[0]:.3f} s to {log.times[-1]:.3f} s, and the images from "
            f"{first(shown) + offset:.3f} s to {last(shown) + offset:.3f} s: set joint_log.clock_offset, or the "
            "camera's start"
        )
    return result, offset, estimate, log


def _check_order(frames: Sequence[Frame]) -> None:
    for before, after in pairwise(frames):
        backwards = before.time is not None and after.time is not None and after.time < before.time
        if before.camera == after.camera and backwards:
            raise UserError(
                f"The times of the camera {after.camera} run backwards, from {before.time:g} s of {before.name} to "
                f"{after.time:g} s of {after.name}: correct them, or name the images in the order of time"
            )


def _with_moments(frames: Sequence[Frame]) -> list[Frame]:
    """Frames with a moment that those share that were taken within :data:`TOGETHER`."""
    order = sorted(range(len(frames)), key=lambda k: frames[k].time or 0.0)
    moments: dict[int, str] = {}
    begun = -math.inf
    for k in order:
        time = frames[k].time or 0.0
        if time - begun > TOGETHER:
            begun = time
        moments[k] = f"{begun:.4f} s"
    return [replace(f, moment=moments[k]) for k, f in enumerate(frames)]
