# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready-made choices of what varies in a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import catalogue
from .scene_model import Variable


@dataclass(frozen=True)
class Preset:
    """What varies; everything else keeps its neutral value.

    Attributes:
        varies: names of variables, or ``group/*``.
        ranges: ranges that differ from the catalogue's, in its units.
    """

    label: str
    description: str
    varies: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def covers(self, name: str) -> bool:
        """Whether the variable of this name varies; link groups are treated like the whole robot."""
        entry = catalogue.find(name)
        known = entry.name if entry is not None else name
        return known in self.varies or f"{known.split('/')[0]}/*" in self.varies


_CAMERA = tuple(
    f"camera/{n}"
    for n in ("azimuth", "elevation", "distance", "roll", "target_x", "target_y", "target_z", "focal_length")
)
_SUN = ("light/azimuth", "light/elevation", "light/strength", "light/temperature", "light/ambient")
_COLOUR = tuple(f"material/{n}" for n in ("hue", "saturation", "brightness", "tint", "roughness"))
_PICTURE = tuple(f"sensor/{n}" for n in ("brightness", "contrast", "saturation", "hue", "blur", "noise"))

FAST = Preset(
    "Fast", "One sun, plain world, plain materials: the most images per second",
    (*_CAMERA, *_SUN, *_COLOUR, *_PICTURE, "objects/drawn", "background/theme"),
)  # fmt: skip
BALANCED = Preset(
    "Balanced", "Adds lens, lamps, HDRI worlds, floor, distractors and worn surfaces",
    (
        *_CAMERA, *_SUN, *_COLOUR, *_PICTURE, "objects/drawn", "background/theme", "camera/principal_x",
        "camera/principal_y", "camera/exposure", "light/size", "light/count", "light/2/azimuth", "light/2/elevation",
        "light/2/strength", "light/2/temperature", "light/world", "light/world_rotation", "material/metallic",
        "material/original", "background/world", "objects/count", "objects/front", "objects/size",
        "objects/layout", "surroundings/floor", "surroundings/brightness", "surroundings/layout", "sensor/gamma",
        "sensor/white_balance",
    ),
    ranges={"light/count": (0.0, 2.0), "objects/count": (0.0, 5.0), "objects/front": (0.0, 2.0)},
)  # fmt: skip
_LENS = ("camera/principal_x", "camera/principal_y", "camera/k1", "camera/exposure", "camera/metering")
_PHOTOGRAPH = tuple(f"sensor/{n}" for n in ("gamma", "white_balance", "vignetting", "read_noise", "sharpening", "jpeg"))
PHOTOGRAPHS = Preset(
    "Photographs", "Real lenses, light, sensors, places, links of other colours, things carried: for photographs",
    (
        *_CAMERA, *_LENS, *_SUN, *_COLOUR, *_PICTURE, *_PHOTOGRAPH, "camera/motion_u", "camera/motion_v", "light/size",
        "light/count", "light/2/azimuth", "light/2/elevation", "light/2/strength", "light/2/temperature",
        "light/world", "light/world_rotation", "material/metallic", "material/original", "material/parts",
        "objects/front", "objects/carried", "objects/size", "objects/layout", "objects/cables", "objects/drawn",
        "background/theme",
    ),
    ranges={"camera/elevation": (-0.2, 1.15), "camera/distance": (1.3, 2.6), "camera/focal_length": (24.0, 45.0),
            "camera/roll": (-0.2, 0.2), "camera/k1": (-0.4, 0.05), "camera/exposure": (-1.0, 1.3),
            "camera/metering": (0.7, 1.0), "light/strength": (0.0, 4.0), "light/count": (0.0, 2.0),
            "light/size": (0.02, 0.6),
            "material/tint": (0.0, 0.8), "material/metallic": (0.0, 0.7), "objects/front": (0.0, 2.0),
            "objects/cables": (0.0, 2.0), "objects/size": (0.08, 0.3), "sensor/gamma": (0.6, 1.3),
            "sensor/vignetting": (0.0, 0.6), "sensor/white_balance": (-0.12, 0.12), "sensor/contrast": (0.7, 1.4)},
)  # fmt: skip
EVERYTHING = Preset(
    "Everything",
    "Varies all that can vary, worn surfaces, floors and walls included: the fewest images per second",
    tuple(f"{g}/*" for g in catalogue.GROUPS),
)
PRESETS: Mapping[str, Preset] = {
    "fast": FAST, "balanced": BALANCED, "photographs": PHOTOGRAPHS, "everything": EVERYTHING,
}  # fmt: skip


def variables(
    preset: str, reach: float, *, groups: Sequence[str] = (), worlds: int = len(catalogue.SHIPPED_WORLDS),
    themes: Sequence[str] = (),
) -> tuple[Variable, ...]:  # fmt: skip
    """Every variable of the scene but the joints, as ``preset`` wants it: varying, or fixed at its neutral value.

    Args:
        reach: of the robot, metres; frame: the robot's base, z up.
        groups, worlds, themes: see :func:`.catalogue.entries`.
    """
    chosen = PRESETS[preset]
    result = []
    for entry in catalogue.entries(groups=groups, worlds=worlds, themes=themes):
        if not chosen.covers(entry.name):
            result.append(entry.constant(reach))
            continue
        known = catalogue.find(entry.name)
        assert known is not None
        if known.name in chosen.ranges:
            low, high = chosen.ranges[known.name]
            entry = replace(entry, low=low, high=high)
        result.append(entry.variable(reach))
    return tuple(result)
