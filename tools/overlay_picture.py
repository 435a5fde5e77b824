# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/overlay.png anew: what the built-in model of the UR10 finds in the view of a real Blender's camera.

    BLENDER=… BLENDER_TOOLS=… .venv/bin/python tools/overlay_picture.py docs/overlay.png

BLENDER and BLENDER_TOOLS are those of ``make test``.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from pathlib import Path

from pose_photograph import ANGLES, EYE, LENS_MM, TARGET, UR10
from window_pictures import take

SIZE = (1280, 900)


def main() -> None:
    """Play the story and keep its screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds")
    options = parser.parse_args()
    config = {
        "urdf": str(Path(sysconfig.get_path("purelib")) / UR10), "pose": ANGLES, "size": [640, 480],
        "eye": list(EYE), "target": list(TARGET), "lens": LENS_MM,
    }  # fmt: skip
    picture, found = take("overlay_picture_story.py", config, "overlay", SIZE, options.patience)
    print(json.dumps(found))
    picture.save(options.out, optimize=True)


if __name__ == "__main__":
    main()
