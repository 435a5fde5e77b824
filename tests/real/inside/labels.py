# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: labels against renderings of spheres, with the installed extension.

Arguments: the folder with ``proofs.py``, the engines to prove (``cycles,workbench``), and the file for the results.
"""

import importlib
import json
import sys
import time

import bpy
import numpy as np

MODULE = "bl_ext.user_default.robot_keypoints"
folder, engines, target = sys.argv[sys.argv.index("--") + 1 :]
sys.path.insert(0, folder)
import proofs  # noqa: E402

m = proofs.modules(MODULE)
scenery = importlib.import_module(f"{MODULE}.addon.properties.scenery")
result = {"version": bpy.app.version_string, "errors": {}, "seconds": {}}
for engine in engines.split(","):
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    scenery.leave_out_startup(bpy.context.scene)
    start = time.monotonic()
    render = m.schema.RenderSettings(engine=engine, width=640, height=480, samples=16 if engine != "workbench" else 8)
    errors = proofs.centre_errors(m, m.schema.Settings(render=render), 1 if engine == "eevee" else 4)
    result["errors"][engine] = np.hypot(*errors.T).tolist()
    result["seconds"][engine] = time.monotonic() - start
builtin = importlib.import_module(f"{MODULE}.core.robot.urdf_reader").builtin_urdf()
labelled, shown = proofs.visibility(m, proofs.run_of(m, builtin, "balanced"), 100)
result["visible"] = float((labelled == 2).mean())
result["agreement"] = proofs.agreement(labelled, shown)
result["mask"] = proofs.mask_agreement(m, builtin)
with open(target, "w", encoding="utf-8") as stream:
    json.dump(result, stream)
