# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's wheel and source distribution, built without a network from a copy of the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "artefacts")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"


def copy(target: Path) -> Path:
    """What belongs to the checkout, tests and all, in a folder of its own."""
    return Path(shutil.copytree(ROOT, target, ignore=LEFT_OUT))


def build(kind: str, source: Path, out: Path) -> Path:
    """A ``wheel`` or an ``sdist`` of the project in ``source``."""
    out.mkdir()
    _run([sys.executable, "-c", BUILD.format(kind), str(out)], source)
    (made,) = out.iterdir()
    return made


def unpack(sdist: Path, target: Path) -> Path:
    """The project's folder in a source distribution."""
    shutil.unpack_archive(sdist, target, filter="data")
    (folder,) = target.iterdir()
    return folder


def install(wheel: Path, folder: Path) -> Path:
    """An environment with the package alone from a wheel; its ``bin``.

    The libraries are those of the Python that runs the tests: a ``.pth`` file names their folder. What that folder's
    own ``.pth`` files would add, such as the checkout itself, stays out.
    """
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet"]
    _run([*pip, "--no-index", "--no-deps", str(wheel)], folder.parent)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own, outer = (_run([python, "-c", code], folder.parent).strip() for python in (programs / "python", sys.executable))
    Path(own, "outer.pth").write_text(f"{outer}\n", encoding="utf-8")
    return programs


def _run(command: list[object], folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
