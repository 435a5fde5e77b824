# SPDX-License-Identifier: GPL-3.0-or-later
"""A calibration as text, JSON, ROS ``camera_info`` and static transforms, with where markers and keypoints were."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ...core import files
from ...core.camera.intrinsics import invert
from .calibration import Calibration, CameraResult
from .recording import ROOM, Floats

CALIBRATION = "calibration.json"
TRANSFORMS = "static_transforms.sh"
PLACES = "places.json"


def spread_of(result: CameraResult) -> dict[str, Any]:
    """Standard deviations of a camera's place, and how far it moves if one moment is left out, as plain values.

    They are of the camera's own axes: turns in degrees, shifts in millimetres.
    """
    deviations = np.sqrt(np.diag(result.covariance))
    turns = np.degrees(np.linalg.norm(result.without[:, :3], axis=1))
    shifts = 1e3 * np.linalg.norm(result.without[:, 3:], axis=1)
    return {
        "rotation_deg": np.degrees(deviations[:3]).tolist(),
        "position_mm": (1e3 * deviations[3:]).tolist(),
        "leave_one_out_deg": float(turns.max()),
        "leave_one_out_mm": float(shifts.max()),
    }


def as_json(calibration: Calibration) -> dict[str, Any]:
    """Everything that is known, as plain JSON values; ``T_cam_base`` of resting cameras, ``T_cam_link`` of others."""
    footage = calibration.footage
    cameras: dict[str, Any] = {}
    for name, result in calibration.cameras.items():
        intrinsics = result.camera.intrinsics
        assert intrinsics is not None
        key = "T_cam_base" if result.camera.link == ROOM else "T_cam_link"
        cameras[name] = {
            key: result.pose.tolist(),
            "link": result.camera.link or footage.robot.root,
            "covariance": result.covariance.tolist(),
            "standard_deviations": spread_of(result),
            "width": intrinsics.width,
            "height": intrinsics.height,
            "camera_matrix": intrinsics.matrix.tolist(),
            "distortion": list(intrinsics.distortion),
            "images": len(result.reprojection),
            "reprojection_px": float(np.median(result.reprojection)) if result.reprojection else None,
        }
    markers = {
        m.name: {
            "link": m.link or footage.robot.root,
            "T_link_marker": None if m.mount is None else m.mount.tolist(),
            **({"covariance": calibration.mounts[m.name].tolist()} if m.name in calibration.mounts else {}),
        }
        for m in footage.markers
    }
    return {
        "robot": footage.robot.name,
        "cameras": cameras,
        "markers": markers,
        "joint_offsets": {
            n: {"offset": v, "standard_deviation": d} for n, (v, d) in calibration.offsets.items()
        },
        "clock_offset": None if calibration.clock is None else {
            "seconds": calibration.clock[0], "standard_deviation": calibration.clock[1],
        },
        "keypoints_px": calibration.keypoints,
        "contradicting": calibration.contradicting(),
        "left_out": [
            {"image": footage.frames[o.frame].name, "camera": footage.frames[o.frame].camera, "marker": o.marker,
             "reasons": list(o.quality.reasons)}
            for o in calibration.observations if not o.quality.high
        ],
        "warnings": list(calibration.warnings),
    }  # fmt: skip


def as_text(calibration: Calibration) -> str:
    """What the terminal shows."""
    footage = calibration.footage
    lines = []
    for name, result in calibration.cameras.items():
        spread = spread_of(result)
        of = "base" if result.camera.link == ROOM else result.camera.link
        lines.append(f"{name}: T_cam_{of} from {len(result.reprojection)} images of markers")
        lines += ["  " + " ".join(f"{v:10.6f}" for v in row) for row in result.pose.tolist()]
        centre = invert(result.pose)[:3, 3]
        place = ", ".join(f"{v:.4f}" for v in centre)
        lines.append(f"  centre at {place} m in {of}")
        turn, shift = (_three(spread[k]) for k in ("rotation_deg", "position_mm"))
        lines.append(f"  standard deviations {shift} mm, {turn} degrees (along and about the camera's x, y, z)")
        lines.append(
            f"  without one moment it moves by {spread['leave_one_out_mm']:.2f} mm and "
            f"{spread['leave_one_out_deg']:.3f} degrees at most"
        )
        if result.reprojection:
            lines.append(f"  median reprojection {np.median(result.reprojection):.2f} px")
    if calibration.keypoints is not None:
        lines.append(f"the model's keypoints are {calibration.keypoints:.1f} px off, root mean square")
    for marker in footage.markers:
        if marker.mount is not None and marker.name in calibration.mounts:
            x, y, z = marker.mount[:3, 3]
            deviation = 1e3 * np.sqrt(np.diag(calibration.mounts[marker.name])[3:])
            lines.append(
                f"marker {marker.name} on {marker.link or 'the base'}: at {x:.4f}, {y:.4f}, {z:.4f} m "
                f"(± {_three(deviation.tolist())} mm)"
            )
    for joint, (value, deviation) in calibration.offsets.items():
        lines.append(f"joint {joint}: offset {math.degrees(value):+.3f} ± {math.degrees(deviation):.3f} degrees")
    if calibration.clock is not None:
        lines.append(f"clock offset {calibration.clock[0]:+.4f} ± {calibration.clock[1]:.4f} s")
    left_out = [o for o in calibration.observations if not o.quality.high]
    if left_out:
        lines.append(f"left out ({len(left_out)} of {len(calibration.observations)}):")
        for o in left_out:
            frame = footage.frames[o.frame]
            lines.append(f"  {frame.camera} {frame.name} {o.marker}: {' '.join(o.quality.reasons)}")
    return "\n".join(lines)


def _three(values: list[float]) -> str:
    return ", ".join(f"{v:.2g}" for v in values)


def camera_info(result: CameraResult) -> str:
    """ROS's ``camera_info`` YAML, as ``camera_calibration`` writes and ``camera_info_manager`` reads it."""
    intrinsics = result.camera.intrinsics
    assert intrinsics is not None
    matrix = intrinsics.matrix

    def table(values: Floats) -> dict[str, Any]:
        rows, columns = values.shape
        return {"rows": rows, "cols": columns, "data": [float(v) for v in values.ravel()]}

    text: str = yaml.safe_dump({
        "image_width": intrinsics.width,
        "image_height": intrinsics.height,
        "camera_name": result.camera.name,
        "camera_matrix": table(matrix),
        "distortion_model": "plumb_bob",
        "distortion_coefficients": table(np.array([intrinsics.distortion])),
        "rectification_matrix": table(np.eye(3)),
        "projection_matrix": table(np.concatenate([matrix, np.zeros((3, 1))], 1)),
    }, sort_keys=False, default_flow_style=None)  # fmt: skip
    return text


def static_transform(result: CameraResult, root: str) -> str:
    """The command that publishes where the camera is to ROS 2's tf, its optical frame (z forward) as the child."""
    pose = invert(result.pose)
    x, y, z, w = quaternion(pose[:3, :3])
    numbers = zip(("x", "y", "z", "qx", "qy", "qz", "qw"), (*pose[:3, 3].tolist(), x, y, z, w), strict=True)
    options = " ".join(f"--{name} {value:.9f}" for name, value in numbers)
    frame, child = shlex.quote(result.camera.link or root), shlex.quote(f"{result.camera.name}_optical_frame")
    return f"ros2 run tf2_ros static_transform_publisher {options} --frame-id {frame} --child-frame-id {child}"


def quaternion(rotation: Floats) -> tuple[float, float, float, float]:
    """x, y, z, w of a rotation matrix ``(3, 3)``, w not negative."""
    # The eigenvector of Bar-Itzhack's symmetric matrix with the largest eigenvalue.
    r = rotation
    k = np.array([
        [r[0, 0] - r[1, 1] - r[2, 2], 0, 0, 0],
        [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0, 0],
        [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0],
        [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
    ]) / 3  # fmt: skip
    x, y, z, w = np.linalg.eigh(k)[1][:, -1] * (1.0 if np.linalg.eigh(k)[1][3, -1] >= 0 else -1.0)
    return float(x), float(y), float(z), float(w)


def write(calibration: Calibration, folder: Path, places: dict[str, Any]) -> list[Path]:
    """Write everything into a folder that exists; returns the files.

    Args:
        places: of markers and keypoints at each moment: see :mod:`.moment_places`.

    Raises:
        WriteError: if one can't be written.
    """
    written = [folder / CALIBRATION]
    files.write_json(written[0], as_json(calibration))
    for name, result in calibration.cameras.items():
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        written.append(folder / f"{safe}_camera_info.yaml")
        files.write_text(written[-1], camera_info(result))
    written.append(folder / TRANSFORMS)
    root = calibration.footage.robot.root
    lines = [f"{static_transform(r, root)} &" for r in calibration.cameras.values()]
    files.write_text(written[-1], "\n".join(["#!/bin/sh", *lines, "wait", ""]))
    written.append(folder / PLACES)
    files.write_json(written[-1], places)
    return written
