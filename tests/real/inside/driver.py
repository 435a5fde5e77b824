# SPDX-License-Identifier: GPL-3.0-or-later
"""Inside Blender: uses the window as a person does, by moving the mouse, clicking and pressing keys.

A story is a generator that yields whenever Blender may handle its events and draw. Buttons are found as a person finds
them, by moving over the panel until the wanted one lights up; Blender is then asked which one that is.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import bpy

Steps = Generator[None, None, Any]
MODULE = "bl_ext.user_default.robot_keypoints"
TICK = 0.01
CLICKS, CLICK_SECONDS = 3, 6.0
"""So many clicks a button gets, and so long each has to bring something about."""


class MissingError(Exception):
    """A station that was not reached."""


class Driver:
    """One window and the notes of what was seen in it."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = json.loads(Path(os.environ["KEYPOINTS_STORY"]).read_text(encoding="utf-8"))
        self.folder = Path(self.config["folder"])
        self.result: dict[str, Any] = {"stations": [], "error": "", "longest_pause": 0.0, "pid": os.getpid()}
        self._last_tick = 0.0
        self._at = (0.0, float("inf"))

    # ------------------------------------------------------------------------------------------------ the story

    def play(self, story: Callable[[Driver], Steps], quit_at_end: bool = True) -> None:
        """Run the story from a timer, write result.json at its end and quit."""
        steps = story(self)

        def tick() -> float | None:
            now = time.monotonic()
            if self._last_tick:
                self.result["longest_pause"] = max(self.result["longest_pause"], now - self._last_tick)
            self._last_tick = now
            try:
                next(steps)
            except StopIteration:
                pass
            except BaseException as problem:
                self.result["error"] = f"{type(problem).__name__}: {problem}"
                self.result["traceback"] = traceback.format_exc()
                traceback.print_exc()
            else:
                return TICK
            self.write()
            if quit_at_end:
                bpy.ops.wm.quit_blender()
            return None

        bpy.app.timers.register(tick, first_interval=1.0, persistent=True)

    def station(self, name: str, **seen: Any) -> Steps:
        """Note that the story came this far, with a screenshot."""
        yield from self.shoot(name)
        self.result["stations"].append(name)
        self.result[name] = seen
        self.write()

    def write(self) -> None:
        """Write result.json, whole or not at all."""
        part = self.folder / "result.part"
        part.write_text(json.dumps(self.result, indent=1, default=str), encoding="utf-8")
        os.replace(part, self.folder / "result.json")

    def shoot(self, name: str) -> Steps:
        """Ask the test outside for a screenshot and wait until it lies there."""
        yield from self.pause(12)
        wish = self.folder / f"{name}.shoot"
        wish.touch()
        yield from self.wait(lambda: not wish.exists(), 30, f"the screenshot {name}")

    def pause(self, ticks: int = 4) -> Steps:
        """Let Blender handle events and draw."""
        for _ in range(ticks):
            yield

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> Steps:
        """Wait until the condition holds and return what it said."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                raise MissingError(f"waited {seconds:.0f} s in vain for {what}")
            yield
        return found

    # ------------------------------------------------------------------------------------------------ the window

    @property
    def window(self) -> bpy.types.Window:
        return bpy.context.window_manager.windows[0]

    @property
    def view(self) -> bpy.types.Area:
        areas = [a for a in self.window.screen.areas if a.type == "VIEW_3D"]
        return max(areas, key=lambda a: a.width * a.height)

    def region(self, kind: str) -> bpy.types.Region:
        return next(r for r in self.view.regions if r.type == kind)

    def context(self, kind: str = "UI") -> Any:
        """Blender's context as it is while the mouse is over that region."""
        return bpy.context.temp_override(window=self.window, area=self.view, region=self.region(kind))

    def event(self, kind: str, value: str, x: float, y: float) -> None:
        self.window.event_simulate(type=kind, value=value, x=int(x), y=int(y))

    def move(self, x: float, y: float) -> Steps:
        self.event("MOUSEMOVE", "NOTHING", x, y)
        yield from self.pause(2)

    def click(self, x: float, y: float) -> Steps:
        yield from self.move(x, y)
        for value in ("PRESS", "RELEASE"):
            self.event("LEFTMOUSE", value, x, y)
            yield from self.pause(2)
        yield from self.pause(6)

    def press(self, key: str, x: float, y: float) -> Steps:
        yield from self.move(x, y)
        for value in ("PRESS", "RELEASE"):
            self.event(key, value, x, y)
            yield from self.pause(2)
        yield from self.pause(6)

    def middle(self, kind: str = "WINDOW") -> tuple[float, float]:
        r = self.region(kind)
        return r.x + r.width * 0.4, r.y + r.height * 0.5

    def open_sidebar(self, tab: str) -> Steps:
        """Press N over the viewport and choose the tab."""
        yield from self.click(*self.middle())  # puts the splash screen away
        if not self.view.spaces.active.show_region_ui:
            yield from self.press("N", *self.middle())
        yield from self.wait(lambda: self.view.spaces.active.show_region_ui, 10, "the sidebar")
        yield from self.wait(lambda: self.region("UI").width > 100, 10, "the sidebar's width")
        yield from self.pause(20)
        self.region("UI").active_panel_category = tab
        self.region("UI").tag_redraw()
        yield from self.wait(lambda: self.region("UI").active_panel_category == tab, 10, f"the tab {tab}")
        yield from self.pause(20)

    # ------------------------------------------------------------------------------------------------ buttons

    def button(self) -> str:
        """The button under the mouse: the command of an operator, the path of a property, or nothing."""
        manager = bpy.context.window_manager
        for copy, options in (
            (bpy.ops.ui.copy_python_command_button, {}),
            (bpy.ops.ui.copy_data_path_button, {"full_path": True}),
        ):
            with self.context():
                if copy.poll():
                    manager.clipboard = ""
                    try:
                        copy(**options)
                    except RuntimeError:
                        continue
                    if manager.clipboard:
                        return str(manager.clipboard)
        return ""

    def find(self, name: str, top: float, fractions: tuple[float, ...]) -> Generator[None, None, bool]:
        """Move over the sidebar from ``top`` down until the button lights up; the mouse then stays on it."""
        region = self.region("UI")
        step = max(6, int(14 * bpy.context.preferences.system.ui_scale))
        for y in range(int(top), region.y + 4, -step):
            for fraction in fractions:
                x = region.x + 8 + (region.width - 36) * fraction
                self.event("MOUSEMOVE", "NOTHING", x, y)
                yield
                yield
                if name in self.button():
                    self._at = (x, y)
                    return True
        return False

    def scroll(self, kind: str) -> Generator[None, None, bool]:
        """Turn the wheel over the sidebar; whether anything moved."""
        region = self.region("UI")
        x, y = self.middle("UI")
        yield from self.move(x, y)
        before = region.view2d.region_to_view(0, 0)[1]
        for _ in range(16):
            self.event(kind, "PRESS", x, y)
            yield
        yield from self.pause(20)
        return abs(region.view2d.region_to_view(0, 0)[1] - before) > 1

    def find_button(self, name: str, fractions: tuple[float, ...] = (0.25, 0.75)) -> Steps:
        """Find a button as a person would: near the last one, further down, then all from the top.

        Args:
            fractions: where to look first, in shares of the sidebar's width.
        """
        region = self.region("UI")
        edge = region.y + region.height - 8
        found = yield from self.find(name, min(self._at[1] + 120, edge), fractions)
        while not found and (yield from self.scroll("WHEELDOWNMOUSE")):
            found = yield from self.find(name, edge, fractions)
        if not found:
            while (yield from self.scroll("WHEELUPMOUSE")):
                pass
            found = yield from self.find(name, edge, (0.5, 0.25, 0.75, 0.07, 0.93))
        while not found and (yield from self.scroll("WHEELDOWNMOUSE")):
            found = yield from self.find(name, edge, (0.5, 0.25, 0.75, 0.07, 0.93))
        if not found:
            raise MissingError(f"there is no button {name} in the sidebar")

    def look_from_top(self) -> None:
        """Have the next button looked for from the top of what is shown."""
        self._at = (0.0, float("inf"))

    def click_button(
        self, name: str, before: Callable[[], None] = lambda: None, fractions: tuple[float, ...] = (0.25, 0.75),
        until: Callable[[], Any] = lambda: True,
    ) -> Steps:  # fmt: skip
        """Find a button and click it, as a person does: again, where the panel has moved away under the mouse.

        Args:
            before: called when the mouse is on the button.
            until: what the click brings about, within seconds.
        """
        for _ in range(CLICKS):
            yield from self.find_button(name, fractions)
            before()
            yield from self.click(*self._at)
            end = time.monotonic() + CLICK_SECONDS
            while not (done := until()) and time.monotonic() < end:
                yield
            if done:
                return
        raise MissingError(f"{CLICKS} clicks on {name} brought nothing about")

    def stop_training(self, runner: Any, seconds: float = 60.0) -> Steps:
        """Click *Stop* and wait so long at most until every process of the run has ended."""
        yield from self.click_button(
            "robot_keypoints.stop_training", until=lambda: runner.status.phase.value not in ("training", "paused")
        )
        yield from self.wait(lambda: runner.status.phase.over, seconds, "the end of the training")

    def unfold(self, above: str, inside: str) -> Steps:
        """Click on the title of the part that follows the button ``above``, until the button ``inside`` is there."""
        yield from self.find_button(above)
        x, y = self._at
        unit = 20 * bpy.context.preferences.system.ui_scale
        for rows in (1.25, 1.5, 1.0, 1.75):
            yield from self.click(x, y - rows * unit)
            yield from self.pause(10)
            if (yield from self.find(inside, y, (0.75, 0.25))):
                return
        raise MissingError(f"no part with the button {inside} unfolds below {above}")
