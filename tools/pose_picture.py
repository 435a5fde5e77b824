# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/pose.png anew: a photograph and, over it, the rig as *Pose Robot from Image* poses it in a real Blender.

    .venv/bin/python tools/pose_photograph.py build/photo.png
    BLENDER=… BLENDER_TOOLS=… .venv/bin/python tools/pose_picture.py build/photo.png docs/pose.png

BLENDER and BLENDER_TOOLS are those of ``make test``; the model is the one that comes along, unless ``--model`` says
another.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from pathlib import Path

from pose_photograph import LENS_MM, UR10
from window_pictures import ROOT, take

SIZE = (1280, 880)


def main() -> None:
    """Play the story and keep its screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "assets" / "models" / "ur10.safetensors")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds")
    options = parser.parse_args()
    known = json.loads(options.photo.with_suffix(".json").read_text(encoding="utf-8"))
    # What no picture tells is given; the others start elsewhere.
    joints = {n: v if n in ("shoulder_pan_joint", "shoulder_lift_joint") else 0.2 for n, v in known["joints"].items()}
    config = {
        "urdf": str(Path(sysconfig.get_path("purelib")) / UR10), "joints": joints, "lens": LENS_MM,
        "model": str(options.model.resolve()), "photo": str(options.photo.resolve()),
    }  # fmt: skip
    picture, found = take("picture_story.py", config, "picture", SIZE, options.patience)
    print(json.dumps(found))
    picture.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
