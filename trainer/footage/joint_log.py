# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint positions over time, from the files that robots and their software record."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.input_files import open_regular, read_json
from ...core.robot.robot import Robot

Floats = NDArray[np.float64]

LARGEST_CSV = 1 << 30
"""Bytes; an hour at 1 kHz of 14 joints has half of it."""

MOST_SAMPLES = 20_000_000
GAP = 0.5
"""Seconds without a sample, if it is more than ten steps, over which nothing is interpolated."""

TURN = 4 * math.pi
"""Radians that no joint's sensor exceeds: what does are degrees."""

BEYOND = 0.1
"""Radians or metres that a sensor may read beyond a joint's limit."""


@dataclass(frozen=True)
class JointLog:
    """Samples of joint positions.

    Attributes:
        file: where they come from.
        times: seconds, rising, ``(T,)``.
        names: columns, of joints once :meth:`of_robot` has been through.
        positions: radians or metres, ``(T, D)``.
    """

    file: Path
    times: Floats
    names: tuple[str, ...]
    positions: Floats

    def __post_init__(self) -> None:
        """Check that it is one.

        Raises:
            UserError: if it is empty, a number is not finite, or times don't rise.
        """
        if not len(self.times):
            raise UserError(f"{self.file} has no joint positions: record them again")
        if not (np.isfinite(self.times).all() and np.isfinite(self.positions).all()):
            row = int(np.argmin(np.isfinite(self.times) & np.isfinite(self.positions).all(1)))
            raise UserError(f"{self.file} has a number in sample {row + 1} that is not finite: take that sample out")
        backwards = np.flatnonzero(np.diff(self.times) < 0)
        if len(backwards):
            k = int(backwards[0])
            raise UserError(
                f"The times in {self.file} run backwards, from {self.times[k]:g} s to {self.times[k + 1]:g} s at "
                f"sample {k + 2}: sort it, or give the part that belongs to the images"
            )

    def of_robot(self, robot: Robot, columns: Mapping[str, str], unit: str) -> JointLog:
        """The log of a robot's own joints, in radians and metres.

        Args:
            columns: joints by the log's columns, where their names differ.
            unit: ``radians`` or ``degrees``, of joints that turn.

        Raises:
            UserError: if a joint is missing, or positions can't be the robot's.
        """
        for column, wanted in columns.items():
            if column not in self.names:
                raise UserError(f"{self.file} has no column {column!r}: it has {', '.join(self.names)}")
            if wanted not in {j.name for j in robot.moving_joints}:
                raise UserError(
                    f"The robot {robot.name} has no joint {wanted!r} that moves of its own: choose from "
                    f"{', '.join(j.name for j in robot.moving_joints)}"
                )
        named = [columns.get(n, n) for n in self.names]
        joints = [j for j in robot.moving_joints if not j.fixed or j.name in named]
        missing = [j.name for j in joints if j.name not in named]
        if missing:
            raise UserError(
                f"{self.file} has no column for the joint {missing[0]}: it has {', '.join(self.names)}; say which is "
                f"which by columns"
            )
        values = self.positions[:, [named.index(j.name) for j in joints]].copy()
        turning = [k for k, j in enumerate(joints) if j.kind != "prismatic"]
        if unit == "degrees":
            values[:, turning] = np.radians(values[:, turning])
        for k in turning:
            # A sensor that jumps by a turn has gone on turning.
            values[:, k] = np.unwrap(values[:, k])
        own = tuple(j.name for j in joints)
        for extreme in (values.min(0), values.max(0)):
            check_positions(str(self.file), robot, dict(zip(own, extreme.tolist(), strict=True)), unit)
        return replace(self, names=own, positions=values)

    def at(self, time: float) -> dict[str, float] | None:
        """Positions at a time between two samples, in proportion; None outside the log and within its gaps."""
        times = self.times
        k = int(np.searchsorted(times, time, side="right"))
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        if k == 0 or k == len(times):
            near = 0 if k == 0 else len(times) - 1
            if abs(times[near] - time) > 0.5 * step + 1e-9:
                return None
            return dict(zip(self.names, self.positions[near].tolist(), strict=True))
        span = float(times[k] - times[k - 1])
        if span > max(GAP, 10 * step):
            return None
        share = (time - float(times[k - 1])) / span if span > 0 else 0.0
        row = (1 - share) * self.positions[k - 1] + share * self.positions[k]
        return dict(zip(self.names, row.tolist(), strict=True))


def check_positions(where: str, robot: Robot, positions: Mapping[str, float], unit: str = "radians") -> None:
    """Refuse joint positions that the robot can't have.

    Raises:
        UserError: naming the joint.
    """
    joints = {j.name: j for j in robot.moving_joints}
    for name, value in positions.items():
        joint = joints[name]
        turns = joint.kind != "prismatic"
        limited = joint.kind != "continuous" and joint.upper > joint.lower
        outside = limited and not joint.lower - BEYOND <= value <= joint.upper + BEYOND
        if turns and unit == "radians" and (abs(value) > TURN or (outside and abs(value) > 2 * math.pi + BEYOND)):
            raise UserError(
                f"{where} has the joint {name} at {value:g}, which are degrees and not radians: set unit to degrees"
            )
        if turns and abs(value) > TURN:
            raise UserError(f"{where} has the joint {name} at {math.degrees(value):g} degrees: set unit to radians")
        if outside:
            raise UserError(
                f"{where} has the joint {name} at {value:g}, beyond its limits {joint.lower:g} and {joint.upper:g}: "
                "check its unit, and that columns say which joint is which"
            )


def read_joint_log(path: Path, time: str = "", episode: int | None = None, topic: str = "") -> JointLog:
    """A log as it stands in its file: CSV, JSON, Parquet, the folder of a LeRobot data set or of a rosbag2.

    Args:
        time: the column of the time; empty is one of ``time``, ``timestamp``, ``t``.
        episode: of a LeRobot data set; None is the first.
        topic: of a rosbag2; empty is the first one of ``sensor_msgs/msg/JointState``.

    Raises:
        UserError: if it can't be read.
    """
    if path.is_dir():
        if (path / "meta" / "info.json").is_file():
            return _read_lerobot(path, time, episode or 0)
        if (path / "metadata.yaml").is_file():
            return _read_rosbag(path, topic)
        raise UserError(
            f"The folder {path} is neither a LeRobot data set (meta/info.json) nor a rosbag2 (metadata.yaml): choose "
            "another joint_log.file"
        )
    readers: dict[str, Callable[[], JointLog]] = {
        ".csv": lambda: _read_csv(path, time),
        ".tsv": lambda: _read_csv(path, time),
        ".txt": lambda: _read_csv(path, time),
        ".json": lambda: _read_json(path, time),
        ".parquet": lambda: _read_parquet(path, time, episode),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path} is no joint log that can be read: give CSV, JSON, Parquet or a rosbag2 folder")
    return reader()


def time_column(file: Path, names: Sequence[str], wanted: str) -> str:
    """Which column is the time.

    Raises:
        UserError: if there is none.
    """
    known = [wanted] if wanted else ["time", "timestamp", "t", "stamp"]
    found = next((n for n in known if n in names), None)
    if found is None:
        raise UserError(
            f"{file} has no column {' or '.join(repr(n) for n in known)}: it has {', '.join(names)}; "
            "name the column of the time in seconds"
        )
    return found


def read_csv_rows(path: Path, largest: int = LARGEST_CSV) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of comma, semicolon or tab separated values.

    Raises:
        UserError: if it can't be read, or is no such table.
    """
    try:
        with open_regular(path) as stream:
            data = stream.read(largest + 1)
        text = data[:largest].decode("utf-8-sig")
    except OSError as problem:
        raise UserError(f"{path} can't be read ({problem.strerror}): choose another") from problem
    except UnicodeDecodeError as problem:
        raise UserError(f"{path} is not text in UTF-8: save it so") from problem
    if len(data) > largest:
        raise UserError(f"{path} has more than {largest >> 20} MiB: give the part that belongs to the images")
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True) if row]
    except csv.Error as problem:
        raise UserError(f"{path} is not a table of values with {delimiter!r} between: {problem}") from problem
    if not rows:
        raise UserError(f"{path} is empty: give a first line with the columns' names, and then values")
    header = [name.strip() for name in rows[0]]
    for k, row in enumerate(rows[1:], 2):
        if len(row) != len(header):
            raise UserError(
                f"{path} has {len(row)} values in line {k}, and {len(header)} columns: it may have been cut"
            )
    return header, rows[1:]


def _read_csv(path: Path, time: str) -> JointLog:
    header, rows = read_csv_rows(path)
    column = time_column(path, header, time)
    numeric: dict[str, Floats] = {}
    for k, name in enumerate(header):
        try:
            numeric[name] = np.array([float(row[k]) for row in rows], dtype=np.float64)
        except ValueError as problem:
            if name == column:
                raise UserError(f"{path} has a time that is no number of seconds ({problem}): write it so") from problem
    return _of_columns(path, numeric, column)


def _of_columns(path: Path, columns: Mapping[str, Floats], time: str) -> JointLog:
    names = tuple(n for n in columns if n != time)
    stacked = np.stack([columns[n] for n in names], 1) if names else np.zeros((len(columns[time]), 0))
    return JointLog(path, columns[time], names, stacked)


def _read_json(path: Path, time: str) -> JointLog:
    """A list of objects ``{time, joint: value, …}``, or one object of lists; joints may stand under ``joints``."""
    wanted = 'write [{"time": seconds, "joint": value, …}, …]'
    document = read_json(path, wanted)
    if isinstance(document, dict) and all(isinstance(v, list) for v in document.values()):
        lengths = {len(v) for v in document.values()}
        if len(lengths) != 1:
            raise UserError(f"{path} has lists of different lengths: {wanted}")
        document = [dict(zip(document, row, strict=True)) for row in zip(*document.values(), strict=True)]
    if not (isinstance(document, list) and document and all(isinstance(v, dict) for v in document)):
        raise UserError(f"{path} is not a list of joint positions: {wanted}")
    flat = [{**{k: v for k, v in e.items() if k != "joints"}, **_table(e.get("joints"))} for e in document]
    column = time_column(path, list(flat[0]), time)
    names = [k for k, v in flat[0].items() if isinstance(v, (int, float)) and not isinstance(v, bool)]
    try:
        columns = {n: np.array([float(e[n]) for e in flat], dtype=np.float64) for n in names}
    except (KeyError, TypeError, ValueError) as problem:
        raise UserError(f"{path} has no number for {problem} in every sample: {wanted}") from problem
    if column not in columns:
        raise UserError(f"{path} has a time that is no number: {wanted}")
    return _of_columns(path, columns, column)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read_lerobot(folder: Path, time: str, episode: int) -> JointLog:
    """An episode of a LeRobot data set, of version 2 (a file each) or 3 (several episodes to a file)."""
    info = read_json(folder / "meta" / "info.json", "choose another data set", largest=16 << 20)
    features = info.get("features") if isinstance(info, dict) else None
    names: dict[str, list[str]] = {}
    for key, feature in (features or {}).items():
        entry = feature.get("names") if isinstance(feature, dict) else None
        entry = next(iter(entry.values()), None) if isinstance(entry, dict) else entry
        if isinstance(entry, list) and all(isinstance(n, str) for n in entry):
            names[key] = entry
    files = sorted((folder / "data").glob(f"chunk-*/episode_{episode:06d}.parquet")) or sorted(
        (folder / "data").glob("chunk-*/file-*.parquet")
    )
    if not files:
        raise UserError(f"{folder} has no Parquet file of episode {episode}: choose another episode")
    for file in files:
        columns = _parquet_columns(file, episode, names)
        column = time_column(file, list(columns), time)
        if len(columns[column]):
            return _of_columns(file, columns, column)
    raise UserError(f"{folder} has no samples of episode {episode}: choose another episode")


def _read_parquet(path: Path, time: str, episode: int | None) -> JointLog:
    columns = _parquet_columns(path, episode, {})
    return _of_columns(path, columns, time_column(path, list(columns), time))


def _parquet_columns(path: Path, episode: int | None, names: Mapping[str, Sequence[str]]) -> dict[str, Floats]:
    """Columns of numbers, and of lists of numbers: ``observation.state`` becomes one column for each of its names.

    Args:
        names: of a list's entries, by the column.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as problem:
        raise UserError(
            f"{path} is a Parquet file, which needs pyarrow: pip install 'robot-keypoints[footage]'"
        ) from problem
    try:
        with open_regular(path) as stream:
            file = parquet.ParquetFile(stream)
            if file.metadata.num_rows > MOST_SAMPLES:
                raise UserError(f"{path} has more than {MOST_SAMPLES:,} samples: give fewer")
            table = file.read()
    except OSError as problem:
        raise UserError(f"{path} can't be read ({problem.strerror or problem}): choose another") from problem
    except (ArrowException, ValueError) as problem:
        raise UserError(f"{path} is not a Parquet file that can be read ({problem}): choose another") from problem
    rows: dict[str, list[Any]] = table.to_pydict()
    if "episode_index" in rows and episode is not None:
        chosen = [k for k, e in enumerate(rows["episode_index"]) if e == episode]
        rows = {name: [values[k] for k in chosen] for name, values in rows.items()}
    columns: dict[str, Floats] = {}
    for name, values in rows.items():
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            continue  # texts, images: nothing of a joint
        if array.ndim == 1:
            columns[name] = array
        elif array.ndim == 2 and name in ("observation.state", *names):
            entry = names.get(name, ())
            labels = entry if len(entry) == array.shape[1] else [f"{name}[{k}]" for k in range(array.shape[1])]
            for k, label in enumerate(labels):
                # What was measured goes before what was commanded.
                if label not in columns or name == "observation.state":
                    columns[label] = array[:, k]
    return columns


def _read_rosbag(folder: Path, topic: str) -> JointLog:
    """Messages of ``sensor_msgs/msg/JointState`` in a rosbag2, at the times of their headers."""
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError as problem:
        raise UserError(
            f"{folder} is a rosbag2, which needs rosbags: pip install 'robot-keypoints[footage]'"
        ) from problem
    samples: list[tuple[float, dict[str, float]]] = []
    try:
        with AnyReader([folder], default_typestore=get_typestore(Stores.LATEST)) as reader:
            fitting = [c for c in reader.connections if c.msgtype == "sensor_msgs/msg/JointState"]
            chosen = [c for c in fitting if c.topic == topic] if topic else fitting[:1]
            if not chosen:
                known = ", ".join(sorted({c.topic for c in fitting})) or "none"
                raise UserError(
                    f"{folder} has no joint states on {topic or 'any topic'}: its topics of them are {known}"
                )
            for connection, stamp, raw in reader.messages(connections=chosen):
                message: Any = reader.deserialize(raw, connection.msgtype)
                header = message.header.stamp
                at = header.sec + header.nanosec * 1e-9
                samples.append((
                    at if at > 0 else stamp * 1e-9,
                    dict(zip(message.name, (float(p) for p in message.position), strict=False)),
                ))  # fmt: skip
                if len(samples) > MOST_SAMPLES:
                    raise UserError(f"{folder} has more than {MOST_SAMPLES:,} samples: give fewer")
    except AnyReaderError as problem:
        raise UserError(f"{folder} can't be read as a rosbag2 ({problem}): choose another") from problem
    names = sorted(set().union(*(s.keys() for _, s in samples))) if samples else []
    # A driver of a gripper publishes on the same topic: only messages with all of the arm's joints count.
    whole = [(t, s) for t, s in samples if len(s) == max(len(v) for _, v in samples)]
    names = [n for n in names if all(n in s for _, s in whole)]
    return JointLog(
        folder,
        np.array([t for t, _ in whole]),
        tuple(names),
        np.array([[s[n] for n in names] for _, s in whole]).reshape(len(whole), len(names)),
    )
