# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what a run needs, by using it, and says how to mend what does not work.

Imports nothing but the standard library until a check needs more: it must run where everything else is missing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ...core.messages.job_progress import ProgressWriter
from ...core.processes.programs import Programs

LIBRARIES = (
    ("numpy", "numpy", "1.26"),
    ("zmq", "pyzmq", "26"),
    ("PIL", "pillow", "10"),
    ("xacro", "xacro", "2.1"),
    ("tomli_w", "tomli-w", "1.0"),
    ("safetensors", "safetensors", "0.4"),
    ("matplotlib", "matplotlib", "3.8"),
    ("tensorboard", "tensorboard", "2.16"),
    ("pycocotools", "pycocotools", "2.0.8"),
    ("cv2", "opencv-python-headless", "4.8"),
    ("torch", "torch", "2.6"),
    ("torchvision", "torchvision", "0.21"),
)
BLENDER_SECONDS = 60
CARD = "graphics card: "
"""Before each that the Blender names."""
OLDEST_BLENDER = (4, 2)


@dataclass(frozen=True)
class Check:
    """One finding; ``mend`` says what to do where ``ok`` is False, and may give advice where it is True."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def report(blender: str, *, as_json: bool = False, progress: bool = False) -> int:
    """Print all checks; 0 if everything works, else 1.

    Args:
        progress: whether to say how far it is in lines of JSON: see :mod:`.job_progress`.
    """
    checks = examine(blender, ProgressWriter(as_json=True) if progress else None)
    ok = all(c.ok for c in checks)
    if as_json:
        details = {c.name: c.detail for c in checks}
        document: dict[str, Any] = {
            "ok": ok, "python": sys.executable, "torch": details.get("torch", ""),
            "device": details.get("device", ""), "checks": [asdict(c) for c in checks],
        }  # fmt: skip
        print(json.dumps(document))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<12} {check.detail}")
            if check.mend:
                print(f"      {'':<12} → {check.mend}")
        print("everything works" if ok else "mend what is marked FAIL and run the doctor again")
    return 0 if ok else 1


def examine(blender: str, progress: ProgressWriter | None = None) -> list[Check]:
    """All checks in order; none of them raises."""
    tasks: list[tuple[str, Callable[[], Check]]] = [("python", _python)]
    tasks += [(package, partial(_library, module, package, oldest)) for module, package, oldest in LIBRARIES]
    tasks += [("device", _device), ("blender", lambda: _blender(blender))]
    checks = []
    for number, (name, task) in enumerate(tasks):
        if progress is not None:
            progress("check", f"checking {name} …", number, len(tasks))
        try:
            checks.append(task())
        except Exception as problem:  # a broken library can raise anything at all
            checks.append(Check(name, False, _line(problem), "install it again"))
    return checks


def _python() -> Check:
    version = platform.python_version()
    detail = f"{version} at {sys.executable}"
    if _numbers(version) < (3, 11):
        return Check("python", False, detail, "use Python 3.11 or later")
    return Check("python", True, detail)


def _library(module: str, package: str, oldest: str) -> Check:
    install = f'{sys.executable} -m pip install "{package}>={oldest}"'
    try:
        library = importlib.import_module(module)
    except Exception as problem:  # half-done installations raise more than ImportError
        return Check(package, False, _line(problem), install)
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # there are several packages with OpenCV
        version = str(library.__version__)
    if _numbers(version) < _numbers(oldest):
        return Check(package, False, f"{version} is older than {oldest}", install)
    return Check(package, True, version)


def _device() -> Check:
    try:
        import torch

        from ..networks.device import run_kernel
    except Exception as problem:
        return Check("device", False, f"torch does not work ({_line(problem)})", "install torch first")
    if torch.cuda.is_available():
        try:
            run_kernel(torch.device("cuda"))
            return Check("device", True, f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
        except Exception as problem:  # the drivers raise many kinds
            card = _line(problem)
    else:
        card = ""
    run_kernel(torch.device("cpu"))
    threads = torch.get_num_threads()
    detail = f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    if card:
        advice = "install the build of torch that fits the card and its driver; until then the CPU is used"
        return Check("device", True, f"{detail}; the graphics card does not work ({card})", advice)
    return Check("device", True, detail)


def _blender(command: str) -> Check:
    """The Blender that is named, or the bpy wheel, asked in a process of its own because it may crash."""
    if command:
        words = [*shlex.split(command, posix=sys.platform != "win32"), "--version"]
        mend = "give the path of Blender 4.2 or later"
    else:
        words = [sys.executable, "-c", "import bpy; print('Blender', bpy.app.version_string)"]
        mend = f"{sys.executable} -m pip install bpy (needs the Python that the wheel was made for, 3.11 for 4.5), "
        mend += "or name an installed Blender with --blender"
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=BLENDER_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, ValueError) as problem:
        return Check("blender", False, _line(problem), mend)
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("Blender ")]
    if done.returncode != 0 or not lines:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return Check("blender", False, last[:200], mend)
    version = lines[0].split()[1]
    if _numbers(version)[:2] < OLDEST_BLENDER:
        return Check("blender", False, f"{version} is older than 4.2", mend)
    cards = _graphics_cards(command)
    renders = "" if cards is None else f", Cycles renders on {' and '.join(cards) or 'the processor: no graphics card'}"
    return Check("blender", True, f"{version} ({'program' if command else 'bpy wheel'}){renders}")


def _graphics_cards(command: str) -> list[str] | None:
    """Those that Cycles can render on; None where the Blender does not tell, as one without this extension."""
    words = [*Programs.with_python(sys.executable, command).blender, "devices"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=BLENDER_SECONDS, stdin=subprocess.DEVNULL, check=False
        )
    except (OSError, subprocess.TimeoutExpired, ValueError):
        return None
    said = [line.strip() for line in done.stdout.splitlines()]
    return [line.removeprefix(CARD) for line in said if line.startswith(CARD)] if done.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200] or type(problem).__name__
