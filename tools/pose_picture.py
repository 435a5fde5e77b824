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
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from PIL import Image
from pose_photograph import LENS_MM, UR10

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "real"))
import blenders  # noqa: E402

SIZE = (1280, 880)


def main() -> None:
    """Install the extension into a fresh profile, play the story, crop its screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "assets" / "models" / "ur10.safetensors")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds")
    options = parser.parse_args()
    blenders.SIZE = SIZE
    blender = blenders.configured()[0]
    subprocess.run([sys.executable, str(ROOT / "tools/build_extension.py"), "--platform", "linux-x64"], check=True)
    archive = max((ROOT / "dist").glob("*-linux_x64.zip"), key=lambda p: p.stat().st_mtime)
    known = json.loads(options.photo.with_suffix(".json").read_text(encoding="utf-8"))
    # What no picture tells is given; the others start elsewhere.
    joints = {n: v if n in ("shoulder_pan_joint", "shoulder_lift_joint") else 0.2 for n, v in known["joints"].items()}
    config = {
        "python": sys.executable, "urdf": str(Path(sysconfig.get_path("purelib")) / UR10), "joints": joints,
        "lens": LENS_MM, "model": str(options.model.resolve()), "photo": str(options.photo.resolve()),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "story", Path(name) / "home"
        folder.mkdir()
        home.mkdir()
        blender.install(home, archive)
        screen = blenders.Screen(blender.tools)
        window = blenders.Window(blender, screen, home, folder, "picture_story.py", config)
        try:
            window.follow(options.patience)
            result = window.result()
        finally:
            window.close()
            screen.close()
        if result["error"]:
            raise SystemExit(f"{result['error']}\n{result.get('traceback')}\n{window.log()}")
        print(json.dumps(result["picture"]))
        Image.open(folder / "picture.png").convert("RGB").save(folder / "cropped.png", optimize=True)
        shutil.copy(folder / "cropped.png", options.out)


if __name__ == "__main__":
    main()
