# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable of a scene that is not a joint: its usual range, and the value that stands in where a run lacks it.

A variable with ``choices`` is categorical: K choices are K bins over ``[0, K]``, and a value v means the choice ⌊v⌋;
a range such as ``[0, 2]`` allows the first two only.
So every variable, categorical or not, has the same prior, the same posterior and the same place in h.

What a rendering shows follows from h alone: where one number can't say everything (where each distractor stands, how
the scratches run), a ``layout`` or ``pattern`` variable seeds the rest. Of what the trainer adds to a rendering, h says
how strong it is; in training, the photographs behind the robot and the noise of each pixel are the trainer's own draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .prior import Prior
from .scene_model import Variable

SHIPPED_WORLDS = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")
"""The HDRI worlds that every Blender brings, in the order of their choices."""

LAMPS = 3
"""How many lamps a scene can have; the first is always lit."""

GROUPS = ("joint", "camera", "light", "material", "background", "objects", "surroundings", "sensor", "custom")
"""The first word of every variable's name."""


@dataclass(frozen=True)
class Entry:
    """One kind of variable.

    Attributes:
        low, high: its usual range; in units of the robot's reach where ``scaled``.
        neutral: the value it has where a run does not have the variable at all.
        choices: what its bins mean, if it is categorical.
        trainer: whether the trainer applies it to the finished image, rather than Blender to the scene.
    """

    name: str
    low: float
    high: float
    neutral: float
    description: str
    bins: int = 6
    unit: str = ""
    adapt: bool = False
    circular: bool = False
    scaled: bool = False
    choices: tuple[str, ...] = ()
    trainer: bool = False

    def variable(self, reach: float) -> Variable:
        """The variable over its usual range for a robot that reaches ``reach`` metres."""
        if self.choices:
            low, high = (self.low, self.high) if self.high > self.low else (0.0, float(len(self.choices)))
            return Variable(self.name, Prior.symmetric(low, high, round(high - low)), self.unit, self.adapt)
        factor = reach if self.scaled else 1.0
        prior = Prior.symmetric(self.low * factor, self.high * factor, self.bins, circular=self.circular)
        return Variable(self.name, prior, self.unit, self.adapt)

    def constant(self, reach: float) -> Variable:
        """The variable fixed at its neutral value."""
        value = self.neutral * (reach if self.scaled else 1.0)
        return Variable(self.name, Prior.symmetric(value, value, 1), self.unit, False)


def choice(value: float, count: int) -> int:
    """Which of ``count`` choices a categorical variable's value means."""
    return min(max(int(value), 0), count - 1)


def _deg(angle: float) -> float:
    return math.radians(angle)


_CAMERA = (
    Entry("camera/azimuth", -math.pi, math.pi, _deg(40), "Direction from the robot to the camera, from above",
          12, "rad", True, True),
    Entry("camera/elevation", 0.0, _deg(60), _deg(20), "Height of the camera above the horizon, as an angle",
          6, "rad", True),
    Entry("camera/distance", 1.7, 2.7, 2.2, "From the camera to the point it looks at", 6, "m", True, scaled=True),
    Entry("camera/roll", _deg(-8), _deg(8), 0.0, "Turn about the viewing direction", 4, "rad"),
    Entry("camera/target_x", -0.23, 0.23, 0.0, "The point that the camera looks at", 6, "m", scaled=True),
    Entry("camera/target_y", -0.23, 0.23, 0.0, "The point that the camera looks at", 6, "m", scaled=True),
    Entry("camera/target_z", 0.115, 0.575, 0.3, "Height of the point that the camera looks at", 6, "m", scaled=True),
    Entry("camera/focal_length", 30.0, 40.0, 35.0, "For a sensor 36 mm wide", 4, "mm"),
    Entry("camera/principal_x", -0.04, 0.04, 0.0, "The optical axis beside the image's middle, in widths", 4),
    Entry("camera/principal_y", -0.04, 0.04, 0.0, "The optical axis below the image's middle, in heights", 4),
    Entry("camera/k1", -0.15, 0.06, 0.0, "Radial lens distortion, as in OpenCV", 6),
    Entry("camera/k2", -0.02, 0.03, 0.0, "Radial lens distortion of the fourth order, as in OpenCV", 4),
    Entry("camera/p1", -0.003, 0.003, 0.0, "Tangential lens distortion, as in OpenCV", 4),
    Entry("camera/p2", -0.003, 0.003, 0.0, "Tangential lens distortion, as in OpenCV", 4),
    Entry("camera/aperture", 0.0, 12.0, 0.0, "Diameter of the lens's opening: the wider, the more defocus", 4, "mm"),
    Entry("camera/focus", 0.75, 1.4, 1.0, "Distance that is in focus, in distances of the point looked at", 4),
    Entry("camera/exposure", -1.0, 1.0, 0.0, "Exposure in stops", 6),
    Entry("camera/metering", 0.0, 1.0, 0.0, "How far the exposure follows the light on the robot, as cameras do it", 4),
    Entry("camera/motion_u", -0.006, 0.006, 0.0, "How far the picture slides right while it is exposed, in widths", 6,
          trainer=True),
    Entry("camera/motion_v", -0.006, 0.006, 0.0, "How far the picture slides down while it is exposed, in widths", 6,
          trainer=True),
)  # fmt: skip


def _lamp(number: int) -> tuple[Entry, ...]:
    prefix = "light/" if number == 1 else f"light/{number}/"
    which = "" if number == 1 else f", lamp {number}"
    return (
        Entry(f"{prefix}type", 0, 0, 0.5, f"Kind of lamp{which}", choices=("sun", "area", "spot", "point")),
        Entry(f"{prefix}azimuth", -math.pi, math.pi, _deg(70 - 120 * (number - 1)),
              f"Direction from the robot to the lamp, from above{which}", 8, "rad", False, True),
        Entry(f"{prefix}elevation", _deg(15), _deg(85), _deg(50), f"Height of the lamp, as an angle{which}", 6, "rad"),
        Entry(f"{prefix}strength", 0.5, 4.0, 2.0, f"Light that arrives at the robot, as of a sun{which}", 6),
        Entry(f"{prefix}temperature", 2800.0, 9000.0, 6500.0, f"Colour temperature{which}", 6, "K"),
        Entry(f"{prefix}size", _deg(0.5), _deg(30), _deg(3), f"Angle under which the robot sees the lamp{which}",
              4, "rad"),
    )  # fmt: skip


_LIGHT = (
    *_lamp(1),
    Entry("light/count", 0, 0, 0.5, "How many lamps are lit", choices=tuple(str(n + 1) for n in range(LAMPS))),
    *_lamp(2),
    *_lamp(3),
    Entry("light/ambient", 0.15, 1.2, 0.5, "Strength of the world's light", 6),
    Entry("light/world", 0, 0, 0.5, "The world whose light falls on the robot", choices=("plain", *SHIPPED_WORLDS)),
    Entry("light/world_rotation", -math.pi, math.pi, 0.0, "Turn of the world about the vertical", 8, "rad", False,
          True),
)  # fmt: skip

MATERIAL = (
    Entry("material/hue", 0.0, 1.0, 0.0, "Hue of the tint", 8, "", False, True),
    Entry("material/saturation", 0.0, 1.0, 0.0, "Saturation of the tint", 4),
    Entry("material/brightness", 0.05, 0.9, 0.5, "Brightness of the tint", 6),
    Entry("material/tint", 0.0, 1.0, 0.0, "How far the robot's own colour gives way to the tint", 4),
    Entry("material/roughness", 0.15, 0.9, 0.5, "Roughness of the surface", 4),
    Entry("material/metallic", 0.0, 1.0, 0.0, "How metallic the surface is", 4),
    Entry("material/dirt", 0.0, 0.8, 0.0, "How much of the surface is dirty", 4),
    Entry("material/scratches", 0.0, 0.8, 0.0, "How scratched the surface is", 4),
    Entry("material/stickers", 0.0, 0.6, 0.0, "How much of the surface is covered by stickers", 4),
    Entry("material/original", 0, 0, 0.5, "Whether the robot's own material is left as it is",
          choices=("randomised", "original")),
    Entry("material/parts", -1.0, 1.0, -1.0, "How the links' materials differ from one another; below zero, not at all",
          4),
    Entry("material/pattern", 0.0, 1.0, 0.0, "Where dirt, scratches and stickers are", 4),
)  # fmt: skip
"""The variables of a material. A group of links has its own under ``material/<group>/…``."""

_OBJECTS = (
    Entry("objects/count", 0, 0, 0.5, "Solid distractors around the robot", choices=tuple(str(n) for n in range(9))),
    Entry("objects/front", 0, 0, 0.5, "Solid occluders between camera and robot",
          choices=tuple(str(n) for n in range(4))),
    Entry("objects/cables", 0, 0, 0.5, "Cables on and around the robot", choices=tuple(str(n) for n in range(4))),
    Entry("objects/carried", 0, 0, 0.5, "Whether the robot carries something: a board, a tool",
          choices=("nothing", "something")),
    Entry("objects/size", 0.08, 0.45, 0.2, "Size of the solid distractors and occluders", 4, "m", scaled=True),
    Entry("objects/layout", 0.0, 1.0, 0.0,
          "Where distractors, occluders, cables and what is carried are, and their looks", 4),
    Entry("objects/drawn", -23.0, 7.0, 0.0, "How many lines and shapes are drawn over the picture; below one, none", 5,
          trainer=True),
)  # fmt: skip

_SURROUNDINGS = (
    Entry("surroundings/floor", 0, 0, 0.5, "Whether there is a floor", choices=("none", "floor")),
    Entry("surroundings/walls", 0, 0, 0.5, "How many walls stand around the robot", choices=("0", "1", "2", "3", "4")),
    Entry("surroundings/distance", 1.2, 3.0, 2.0, "From the robot to the walls", 4, "m", scaled=True),
    Entry("surroundings/brightness", 0.05, 0.9, 0.5, "Brightness of floor and walls", 4),
    Entry("surroundings/layout", 0.0, 1.0, 0.0, "Directions and patterns of floor and walls", 4),
)

_BACKGROUND = (
    Entry("background/world", 0, 0, 0.5, "What is seen behind everything: a picture, or the world that gives the light",
          choices=("picture", "world")),
    Entry("background/theme", 0, 0, 0.5, "The theme that the picture behind is taken from", choices=("drawn",),
          trainer=True),
)  # fmt: skip

_SENSOR = (
    Entry("sensor/brightness", -0.1, 0.1, 0.0, "Added to the picture, as a share of white", 4, trainer=True),
    Entry("sensor/contrast", 0.7, 1.35, 1.0, "Factor about mid-grey", 4, trainer=True),
    Entry("sensor/saturation", 0.7, 1.3, 1.0, "Factor on the colours", 4, trainer=True),
    Entry("sensor/hue", _deg(-15), _deg(15), 0.0, "Turn of all colours about grey", 4, "rad", trainer=True),
    Entry("sensor/white_balance", -0.2, 0.2, 0.0, "Towards blue (below zero) or yellow", 4, trainer=True),
    Entry("sensor/gamma", 0.7, 1.4, 1.0, "Exponent on the picture's values", 4, trainer=True),
    Entry("sensor/vignetting", 0.0, 0.5, 0.0, "Share of the light that is lost in the corners", 4, trainer=True),
    Entry("sensor/blur", -2.4, 1.2, 0.0, "Standard deviation of the blur, in pixels; below zero, the picture is sharp",
          3, trainer=True),
    Entry("sensor/noise", 0.0, 0.03, 0.0, "Standard deviation of the noise, as a share of white", 4, trainer=True),
    Entry("sensor/read_noise", -0.005, 0.01, 0.0,
          "Standard deviation of the noise of the light itself, most visible where it is dark; below zero, none", 3,
          trainer=True),
    Entry("sensor/sharpening", -1.0, 1.5, 0.0, "How far edges are sharpened; below zero, not at all", 5, trainer=True),
    Entry("sensor/jpeg", -1.0, 1.0, 0.0, "Loss by JPEG: below zero none, at one that of quality 20", 4, trainer=True),
)  # fmt: skip
"""Most cameras' pictures are neither blurred nor compressed visibly. So the usual ranges of such effects begin far
below zero: the bins there stand for untouched pictures, and the prior says how many there are."""

ENTRIES: tuple[Entry, ...] = (
    *_CAMERA, *_LIGHT, *MATERIAL, *_BACKGROUND, *_OBJECTS, *_SURROUNDINGS, *_SENSOR,
)  # fmt: skip
BY_NAME: Mapping[str, Entry] = {e.name: e for e in ENTRIES}


def entries(
    *, groups: Sequence[str] = (), worlds: int = len(SHIPPED_WORLDS), themes: Sequence[str] = ()
) -> list[Entry]:
    """The catalogue as it stands for one scene.

    Args:
        groups: names of the link groups with materials of their own.
        worlds: how many HDRI worlds there are.
        themes: what can be laid behind renderings beside pictures drawn by program; see
            :func:`.asset_folders.training_themes`.
    """
    result = []
    for entry in ENTRIES:
        if entry.name == "light/world" and worlds != len(SHIPPED_WORLDS):
            names = ("plain", *SHIPPED_WORLDS, *(f"world {n + 1}" for n in range(len(SHIPPED_WORLDS), worlds)))
            entry = replace(entry, choices=names[: worlds + 1])
        if entry.name == "background/theme" and themes:
            entry = replace(entry, choices=(*entry.choices, *themes))
        result.append(entry)
    result += [replace(e, name=f"material/{g}/{e.name.split('/')[1]}") for g in groups for e in MATERIAL]
    return result


REACH_SHARE = 0.7
"""How far a robot reaches in use, as a share of how far it could: lengths here are in units of that."""


def neutral(reach: float) -> dict[str, float]:
    """The value of every variable that a run does not have, for a robot that reaches ``reach`` metres."""
    return {e.name: e.neutral * (reach if e.scaled else 1.0) for e in ENTRIES}


def find(name: str) -> Entry | None:
    """The entry behind a variable's name, those of link groups included; None for joints and the user's own."""
    if name in BY_NAME:
        return BY_NAME[name]
    group, _, rest = name.partition("/")
    if group == "material" and "/" in rest:
        return BY_NAME.get(f"material/{rest.rsplit('/', 1)[1]}")
    return None


def trainer_variables() -> Iterator[str]:
    """Names of the variables that the trainer applies to the finished picture."""
    return (e.name for e in ENTRIES if e.trainer)
