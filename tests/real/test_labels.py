# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels agree with renderings in every Blender. EEVEE is proved with the bpy wheel, and here by hand: see ENGINES."""

from __future__ import annotations

import json
import os
from pathlib import Path

from blenders import RealBlender

INSIDE = Path(__file__).resolve().parent / "inside"
ENGINES = os.environ.get("KEYPOINTS_ENGINES", "cycles,workbench")
"""KEYPOINTS_ENGINES=cycles,workbench,eevee takes EEVEE, too: minutes where there is no graphics card."""


def test_labels_are_where_and_as_visible_as_they_say(
    blender: RealBlender, archive: Path, home: Path, tmp_path: Path
) -> None:
    blender.install(home, archive)
    target = tmp_path / "result.json"
    blender.run(
        home, "--background", "--python-exit-code", "1", "--python", str(INSIDE / "labels.py"), "--",
        str(INSIDE.parents[1] / "support"), ENGINES, str(target), timeout=900,
    )  # fmt: skip
    found = json.loads(target.read_text(encoding="utf-8"))
    print({k: v for k, v in found.items() if k != "errors"})
    for engine in ENGINES.split(","):
        errors = found["errors"][engine]
        print(f"{engine}: {len(errors)} spheres, at most {max(errors):.3f} px off")
        assert len(errors) >= 3
        assert max(errors) < 0.1, f"{engine}: labels are {max(errors):.2f} px from their spheres"
    assert 0.2 < found["visible"] < 0.8
    assert found["agreement"] >= 0.99
    assert 0.99 <= found["mask"] <= 1.0
