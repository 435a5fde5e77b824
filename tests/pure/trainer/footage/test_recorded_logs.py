# SPDX-License-Identifier: GPL-3.0-or-later
"""Joint logs of LeRobot data sets and rosbag2, with stand-ins for the libraries that read the files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.footage.joint_log import read_joint_log

JOINT_STATE = "sensor_msgs/msg/JointState"


class ArrowError(Exception):
    """What pyarrow raises."""


class ParquetFile:
    """Stands for pyarrow's: the file holds columns as JSON."""

    def __init__(self, stream: Any) -> None:
        data = stream.read()
        if not data.startswith(b"{"):
            raise ArrowError("no magic bytes")
        self._columns = json.loads(data)
        self.metadata = SimpleNamespace(num_rows=max(map(len, self._columns.values())))

    def read(self) -> Any:
        return SimpleNamespace(to_pydict=lambda: self._columns)


@pytest.fixture
def arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("pyarrow")
    module.ArrowException = ArrowError  # type: ignore[attr-defined]
    module.parquet = SimpleNamespace(ParquetFile=ParquetFile)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", module)


def lerobot(folder: Path, files: Mapping[str, Mapping[str, Any]], names: Any = ("pan.pos", "lift.pos")) -> Path:
    """A data set of LeRobot with these Parquet files."""
    (folder / "meta").mkdir(parents=True)
    feature = {"dtype": "float32", "names": names if isinstance(names, dict) else list(names)}
    info = {"features": {"observation.state": feature, "action": feature, "timestamp": {"names": None}}}
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    for name, columns in files.items():
        file = folder / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(columns))
    return folder


def episode(start: float, index: int = 0) -> dict[str, Any]:
    states = [[start + 0.1 * k, -start - 0.1 * k] for k in range(3)]
    return {
        "timestamp": [0.0, 0.5, 1.0],
        "episode_index": [index] * 3,
        "observation.state": states,
        "action": [[9.0, 9.0]] * 3,
        "task": ["pick", "pick", "pick"],
    }


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize("names", [("pan.pos", "lift.pos"), {"motors": ["pan.pos", "lift.pos"]}])
def test_a_file_each_episode_and_what_was_measured_before_what_was_commanded(tmp_path: Path, names: Any) -> None:
    files = {f"chunk-000/episode_00000{k}.parquet": episode(float(k), k) for k in (0, 1)}
    log = read_joint_log(lerobot(tmp_path / "set", files, names), episode=1)
    assert log.times.tolist() == [0.0, 0.5, 1.0]
    assert {"pan.pos", "lift.pos"} <= set(log.names)
    place = log.names.index("pan.pos")
    assert log.positions[:, place] == pytest.approx([1.0, 1.1, 1.2])
    assert read_joint_log(tmp_path / "set").positions[0, place] == 0.0


@pytest.mark.usefixtures("arrow")
def test_several_episodes_in_a_file(tmp_path: Path) -> None:
    both = {k: [*a, *b] for (k, a), b in zip(episode(0.0).items(), episode(2.0, 7).values(), strict=True)}
    other = {"chunk-000/file-000.parquet": episode(5.0, 3), "chunk-000/file-001.parquet": both}
    folder = lerobot(tmp_path / "set", other)
    log = read_joint_log(folder, episode=7)
    assert log.positions[:, log.names.index("lift.pos")] == pytest.approx([-2.0, -2.1, -2.2])
    with pytest.raises(UserError, match="has no samples of episode 8"):
        read_joint_log(folder, episode=8)


@pytest.mark.usefixtures("arrow")
@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no Parquet file of episode 0"),
        ({"chunk-000/episode_000000.parquet": {"observation.state": [[0.0, 1.0]]}}, "has no column 'time'"),
        ({"chunk-000/episode_000000.parquet": []}, "is not a Parquet file that can be read"),
        ({"chunk-000/episode_000000.parquet": {"timestamp": [1.0, 0.5], "a": [0.0, 0.0]}}, "run backwards"),
    ],
)
def test_data_sets_that_are_none(tmp_path: Path, files: Any, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_joint_log(lerobot(tmp_path / "set", files))
    assert sentence in str(caught.value)


class Reader:
    """Stands for rosbags' reader of a folder whose messages are in ``messages.json``."""

    def __init__(self, paths: list[Path], default_typestore: Any) -> None:
        del default_typestore
        self._all = json.loads((paths[0] / "messages.json").read_text())

    def __enter__(self) -> Reader:
        if self._all is None:
            raise BagError("no storage")
        topics = {(m["topic"], m["type"]): None for m in self._all}
        self.connections = [SimpleNamespace(topic=t, msgtype=kind) for t, kind in topics]
        return self

    def __exit__(self, *_: object) -> None: ...

    def messages(self, connections: list[Any]) -> Iterator[tuple[Any, int, Any]]:
        for message in self._all:
            for connection in connections:
                if (message["topic"], message["type"]) == (connection.topic, connection.msgtype):
                    yield connection, message["at"], message

    def deserialize(self, raw: Any, kind: str) -> Any:
        assert kind == JOINT_STATE
        seconds, nanoseconds = raw["stamp"]
        stamp = SimpleNamespace(sec=seconds, nanosec=nanoseconds)
        return SimpleNamespace(
            header=SimpleNamespace(stamp=stamp), name=list(raw["joints"]), position=list(raw["joints"].values())
        )


class BagError(Exception):
    """What rosbags raises."""


@pytest.fixture
def rosbags(monkeypatch: pytest.MonkeyPatch) -> None:
    high, types = ModuleType("rosbags.highlevel"), ModuleType("rosbags.typesys")
    high.AnyReader, high.AnyReaderError = Reader, BagError  # type: ignore[attr-defined]
    types.Stores, types.get_typestore = SimpleNamespace(LATEST=0), lambda _: None  # type: ignore[attr-defined]
    for module in (ModuleType("rosbags"), high, types):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def bag(folder: Path, messages: Any) -> Path:
    folder.mkdir()
    (folder / "metadata.yaml").touch()
    (folder / "messages.json").write_text(json.dumps(messages))
    return folder


def message(topic: str, stamp: tuple[int, int], joints: Mapping[str, float], at: int = 0) -> dict[str, Any]:
    return {"topic": topic, "type": JOINT_STATE, "stamp": stamp, "at": at, "joints": joints}


@pytest.mark.usefixtures("rosbags")
def test_joint_states_of_a_bag_at_the_times_of_their_headers(tmp_path: Path) -> None:
    arm = [message("/joint_states", (10 + k, 500_000_000), {"b": 0.1 * k, "a": -0.1 * k}) for k in range(3)]
    gripper = [message("/joint_states", (10, 700_000_000), {"finger": 0.02})]
    others = [{**message("/tf", (0, 0), {}), "type": "tf2_msgs/msg/TFMessage"}, message("/other", (1, 0), {"c": 1.0})]
    folder = bag(tmp_path / "bag", [*arm, *gripper, *others])
    log = read_joint_log(folder)
    assert log.names == ("a", "b")
    assert log.times == pytest.approx([10.5, 11.5, 12.5])
    assert log.positions == pytest.approx(np.array([[0, 0], [-0.1, 0.1], [-0.2, 0.2]]))
    assert read_joint_log(folder, topic="/other").names == ("c",)


@pytest.mark.usefixtures("rosbags")
def test_without_a_stamp_the_time_is_when_it_was_recorded(tmp_path: Path) -> None:
    folder = bag(tmp_path / "bag", [message("/j", (0, 0), {"a": 0.5}, at=3_250_000_000)])
    assert read_joint_log(folder).times.tolist() == [3.25]


@pytest.mark.usefixtures("rosbags")
@pytest.mark.parametrize(
    ("messages", "topic", "sentence"),
    [
        ([message("/j", (1, 0), {"a": 0.0})], "/k", "no joint states on /k: its topics of them are /j"),
        ([{**message("/tf", (0, 0), {}), "type": "tf2_msgs/msg/TFMessage"}], "", "on any topic"),
        (None, "", "can't be read as a rosbag2"),
    ],
)
def test_bags_that_are_none(tmp_path: Path, messages: Any, topic: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        read_joint_log(bag(tmp_path / "bag", messages), topic=topic)
    assert sentence in str(caught.value)
