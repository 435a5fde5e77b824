# SPDX-License-Identifier: GPL-3.0-or-later
"""The HDRI worlds that Blender brings (CC0, by Greg Zaal of Poly Haven) as small JPEGs that the trainer looks up.

    python tools/make_places.py    # with Blender's library installed; writes assets/places

Radiance L over its mean is kept as L / (1 + L) in display sRGB, which :mod:`trainer.images.places` undoes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from robot_keypoints.addon.stage import hdri_files
from robot_keypoints.core.scene import catalogue
from robot_keypoints.trainer.images import places

WIDTH = 1024
QUALITY = 88


def main() -> None:
    """Write each of them."""
    places.FOLDER.mkdir(parents=True, exist_ok=True)
    for name in catalogue.SHIPPED_WORLDS:
        pixels, _ = hdri_files.load(hdri_files.locate(name), WIDTH)
        top_first = np.ascontiguousarray(pixels[::-1])
        Image.fromarray(places.encoded(top_first)).save(
            Path(places.FOLDER, f"{name}.jpg"), quality=QUALITY, subsampling=0, optimize=True
        )


if __name__ == "__main__":
    main()
