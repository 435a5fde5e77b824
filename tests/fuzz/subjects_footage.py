# SPDX-License-Identifier: GPL-3.0-or-later
"""What describes footage: FOOTAGE.toml and its JSON, joint logs as CSV and JSON, times, and intrinsics."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.footage.footage_file import load_footage
from subjects import Seed

UR10 = Path(__file__).resolve().parents[2] / "assets" / "ur10_simple.urdf"
SIZE = (64, 48)
COUNT = 4

CAMERA_INFO = """\
image_width: 64
image_height: 48
camera_matrix: {rows: 3, cols: 3, data: [60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.0, 0.0, 0.0, 0.0, 0.0]}
"""

FOOTAGE = """\
robot = "robot.urdf"

[cameras.left]
images = "left/*.png"
intrinsics = "camera_info.yaml"
times = "times.csv"

[markers.board]
kind = "charuco"
squares = [5, 7]
square_m = 0.03
marker_m = 0.022
dictionary = "DICT_4X4_50"
on = "ee_link"

[joint_log]
file = "LOG"
unit = "radians"
clock_offset = 0.0
"""


class FootageFiles:
    """The file that describes footage, and the texts that it names; images and robot stay whole."""

    def __init__(self, scratch: Path) -> None:
        del scratch
        buffer = io.BytesIO()
        Image.new("RGB", SIZE, (90, 90, 90)).save(buffer, "PNG")
        self._image = buffer.getvalue()
        self._joints = [j.name for j in load_urdf(UR10).moving_joints]

    def seeds(self) -> Sequence[Seed]:
        rows = [(0.5 * k, *np.round(0.1 * k + 0.05 * np.arange(len(self._joints)), 3).tolist()) for k in range(COUNT)]
        header = ["time", *self._joints]
        table = "\n".join(",".join(map(str, row)) for row in (header, *rows)) + "\n"
        listed = json.dumps([dict(zip(header, row, strict=True)) for row in rows])
        times = "file,time\n" + "".join(f"{k}.png,{0.5 * k}\n" for k in range(COUNT))
        shared = {
            "robot.urdf": UR10.read_bytes(),
            "camera_info.yaml": CAMERA_INFO.encode(),
            "times.csv": times.encode(),
            **{f"left/{k}.png": self._image for k in range(COUNT)},
        }
        poses = {
            "robot": "robot.urdf",
            "cameras": {"left": {"K": [[60.0, 0.0, 31.5], [0.0, 60.0, 23.5], [0.0, 0.0, 1.0]]}},
            "frames": [{"camera": "left", "pose": k, "file": f"left/{k}.png"} for k in range(COUNT)],
            "joints": {str(k): dict(zip(self._joints, row[1:], strict=True)) for k, row in enumerate(rows)},
        }
        named = ("footage.toml", "camera_info.yaml", "times.csv")
        return [
            Seed(
                "footage.toml",
                {**shared, "footage.toml": FOOTAGE.replace("LOG", "log.csv").encode(), "log.csv": table.encode()},
                (*named, "log.csv"),
            ),
            Seed(
                "footage.toml",
                {**shared, "footage.toml": FOOTAGE.replace("LOG", "log.json").encode(), "log.json": listed.encode()},
                ("log.json",),
            ),
            Seed("footage.json", {**shared, "footage.json": json.dumps(poses).encode()}, ("footage.json",)),
        ]

    def attempt(self, entry: Path) -> None:
        load_footage(entry)
