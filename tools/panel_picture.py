# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/panel.png anew: the panel during a training, from the file that Blender starts with.

    BLENDER=… BLENDER_TOOLS=… .venv/bin/python tools/panel_picture.py docs/panel.png

BLENDER and BLENDER_TOOLS are those of ``make test``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from window_pictures import take

SIZE = (1200, 1640)
SETTINGS = {
    "workers": {"count": 2, "adaptive": 1, "threads": 1},
    "render": {"width": 160, "height": 120, "samples": 1},
    "training": {"batch_size": 16, "epoch_images": 240, "epochs": 20, "validation_images": 48, "store_mb": 64},
    "feedback": {"rule": "selection"},
}
"""A training whose priors have changed several times within minutes, on two cores."""
VARIABLE = "joint/elbow_joint"
POSE = {"shoulder_pan_joint": 0.5, "shoulder_lift_joint": -1.9, "elbow_joint": 1.5, "wrist_1_joint": -1.2,
        "wrist_2_joint": -1.5, "wrist_3_joint": 0.0}  # fmt: skip
"""Radians."""


def main() -> None:
    """Play the story and keep its screenshot of the 3D viewport."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--updates", type=int, default=3, help="of the priors, before the picture is taken")
    parser.add_argument("--patience", type=float, default=1200.0, help="seconds")
    options = parser.parse_args()
    config = {"settings": SETTINGS, "variable": VARIABLE, "pose": POSE, "updates": options.updates,
              "patience": options.patience}  # fmt: skip
    picture, found = take("panel_picture_story.py", config, "panel", SIZE, options.patience)
    print(json.dumps(found))
    picture.crop(found["viewport"]).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
