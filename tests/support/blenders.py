# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts real Blenders, and the screens that they are drawn on."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIZE = (1280, 1500)
"""Pixels of the window: tall, so that every panel of the sidebar is on the screen."""
INSIDE = Path(__file__).resolve().parents[1] / "real" / "inside"
PATIENCE = 60.0
TINY = {
    "workers": {"count": 2, "adaptive": 1, "threads": 1},
    "render": {"width": 96, "height": 72, "samples": 1},
    "training": {
        "batch_size": 16, "epoch_images": 200, "epochs": 0, "validation_images": 32, "test_images": 16, "store_mb": 64,
    },
    "feedback": {"rule": "selection"},
}  # fmt: skip
"""A training that adapts within a minute on two busy cores; evidence would take longer."""


@dataclass(frozen=True)
class RealBlender:
    """One Blender: the words of its command, and those that go before Xvfb and scrot."""

    name: str
    command: tuple[str, ...]
    tools: tuple[str, ...]

    def check(self) -> None:
        """Fail with one sentence where it can't be started."""
        assert shutil.which(self.command[0]), f"BLENDER names {self.command[0]}, which is not there"
        assert shutil.which((*self.tools, "Xvfb")[0]), "Xvfb is needed: install it, or see BLENDER_TOOLS in the README"

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The environment of one Blender whose files all lie in ``home``.

        So do its shaders: a broken entry in a cache shared with Blenders that were killed makes Mesa crash.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
        own = {"BLENDER_USER_RESOURCES": str(home), "MESA_SHADER_CACHE_DIR": str(home / "shaders")}
        return {**kept, **own, **more}

    def run(self, home: Path, *arguments: str, timeout: float = 180.0) -> str:
        """Run it to its end and return all that it printed.

        Raises:
            subprocess.CalledProcessError: if it ends with an exit code but 0.
        """
        done = subprocess.run(
            [*self.command, *arguments], env=self.environment(home), stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{output[-4000:]}"
        return output

    def install(self, home: Path, archive: Path) -> str:
        """Install and enable the extension from its zip, as a user would on the command line."""
        return self.run(home, "--command", "extension", "install-file", "-r", "user_default", "--enable", str(archive))


def configured() -> list[RealBlender]:
    """What BLENDER and BLENDER_TOOLS name."""
    commands = [shlex.split(c) for c in os.environ.get("BLENDER", "").split(os.pathsep) if c.strip()]
    tools = [tuple(shlex.split(t)) for t in os.environ.get("BLENDER_TOOLS", "").split(os.pathsep)]
    if len(tools) == 1 or not commands:
        tools = tools[:1] * len(commands)
    if len(tools) != len(commands):
        raise RuntimeError(f"BLENDER names {len(commands)} programs, BLENDER_TOOLS {len(tools)}: name one or as many")
    return [
        RealBlender(f"{number}-{Path(words[-1]).name}", tuple(words), before)
        for number, (words, before) in enumerate(zip(commands, tools, strict=True), 1)
    ]


class Screen:
    """A virtual screen and a camera for it; the user's own display where BLENDER_DISPLAY=1."""

    def __init__(self, tools: tuple[str, ...]) -> None:
        self.tools = tools
        self._server: subprocess.Popen[bytes] | None = None
        if os.environ.get("BLENDER_DISPLAY") == "1":
            self.display = os.environ["DISPLAY"]
            return
        size = f"{SIZE[0]}x{SIZE[1]}x24"
        self._server = subprocess.Popen(
            [*tools, "Xvfb", "-displayfd", "1", "-screen", "0", size, "-nolisten", "tcp"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self._server.stdout is not None
        number = self._server.stdout.readline().strip().decode()
        assert number, "Xvfb did not start"
        self.display = f":{number}"

    def shoot(self, path: Path) -> None:
        """Photograph the whole screen."""
        subprocess.run(
            [*self.tools, "scrot", "-o", str(path)], env={**os.environ, "DISPLAY": self.display}, check=True,
            capture_output=True, timeout=PATIENCE,
        )  # fmt: skip

    def close(self) -> None:
        """Take the screen away."""
        if self._server is not None:
            self._server.terminate()
            self._server.wait(PATIENCE)


class Window:
    """A Blender with a window, driven by one of the scripts in inside/.

    The script writes ``result.json`` and asks for screenshots by making files ``NAME.shoot``.
    """

    def __init__(
        self, blender: RealBlender, screen: Screen, home: Path, folder: Path, story: str, config: dict[str, Any]
    ) -> None:
        self.screen, self.folder = screen, folder
        (folder / "config.json").write_text(json.dumps({**config, "folder": str(folder)}, indent=1), encoding="utf-8")
        environment = blender.environment(home, DISPLAY=screen.display, LIBGL_ALWAYS_SOFTWARE="1")
        environment["KEYPOINTS_STORY"] = str(folder / "config.json")
        with open(folder / "blender.log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    *blender.command, "--enable-event-simulate", "-p", "0", "0", *map(str, SIZE),
                    "--python", str(INSIDE / story),
                ],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def follow(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Take the screenshots that the script asks for, until Blender ends or ``until()`` says so."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and not (until is not None and until()):
            for wish in sorted(self.folder.glob("*.shoot")):
                self.screen.shoot(wish.with_suffix(".png"))
                wish.unlink()
            if time.monotonic() > end:
                self.screen.shoot(self.folder / "too-late.png")
                raise AssertionError(f"Blender was not done after {seconds:.0f} s:\n{self.log()}")
            time.sleep(0.05)

    def log(self) -> str:
        """The end of what Blender printed."""
        return (self.folder / "blender.log").read_text(encoding="utf-8", errors="replace")[-5000:]

    def result(self) -> dict[str, Any]:
        """What the script found out."""
        path = self.folder / "result.json"
        assert path.exists(), f"the script inside Blender wrote no result:\n{self.log()}"
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def close(self) -> None:
        """End Blender for certain."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


Play = Callable[..., tuple[Window, dict[str, Any]]]
"""Plays a script in a new window: see the fixture ``play``."""
