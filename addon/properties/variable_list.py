# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's list of variables: what each is by default, and how entries are written, read, reset and copied.

Blender keeps single precision; what is read back is rounded to what a person could have meant, so that 180° is π again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...core.scene import catalogue, presets
from ...core.scene.scene_model import joint_variable
from ...core.settings.schema import VariableSettings
from . import choice_names, scene_check_report, user_presets
from .from_dataclass import quietly


@dataclass(frozen=True)
class Default:
    """What a variable is unless the user says otherwise.

    Attributes:
        settings: as the preset has it; constant where the preset holds it.
        usual: its range once it varies.
        limits: those of the joint; None for anything else, and for joints that turn without end.
        fixed: whether it is a joint that stays at zero by default.
    """

    settings: VariableSettings
    usual: VariableSettings
    limits: tuple[float, float] | None = None
    fixed: bool = False


def joint_default(name: str, limits: tuple[float, float] | None, linear: bool, fixed: bool = False) -> Default:
    """The default of a joint, ``name`` without ``joint/``: all that its limits allow, or zero for a ``fixed`` one."""
    low, high = limits or (-math.pi, math.pi)
    usual, made = (
        VariableSettings.of(joint_variable(name, low, high, circular=limits is None, linear=linear, fixed=constant))
        for constant in (False, fixed)
    )
    return Default(made, usual, limits, fixed)


def scene_defaults(props: Any) -> dict[str, Default]:
    """The defaults of all variables but the joints and the user's own, as the scene's preset has them."""
    reach = catalogue.REACH_SHARE * props.reach
    worlds = len(catalogue.SHIPPED_WORLDS) + len(props.world_files)
    options: dict[str, Any] = {
        "groups": [g.name for g in props.links], "worlds": worlds,
        "themes": choice_names.training_themes(props),
    }  # fmt: skip
    chosen = presets.variables(props.scene.preset, reach, **options)
    own = user_presets.known(props.preset_name) if props.preset_name else {}
    result = {}
    for entry, variable in zip(catalogue.entries(**options), chosen, strict=True):
        usual = VariableSettings.of(entry.variable(reach))
        settings = VariableSettings.of(variable)
        if settings.low < settings.high:
            usual = settings
        known = catalogue.find(entry.name)
        assert known is not None
        given = own.get(entry.name, own.get(known.name))
        if given is not None:
            settings = _from_preset(replace(given, name=entry.name), entry, reach)
            usual = settings if settings.low < settings.high else usual
        result[entry.name] = Default(settings, usual)
    return result


def _from_preset(given: VariableSettings, entry: catalogue.Entry, reach: float) -> VariableSettings:
    factor = reach if entry.scaled else 1.0
    given = replace(given, low=given.low * factor, high=given.high * factor, unit=entry.unit)
    if not entry.choices:
        return given
    low, high = (min(max(x, 0.0), float(len(entry.choices))) for x in (given.low, given.high))
    if given.low == given.high:
        return replace(given, low=low, high=low)
    if high - low < 1:
        low, high = 0.0, float(len(entry.choices))
    return replace(given, low=low, high=high, bins=round(high - low))


def for_preset(props: Any) -> list[VariableSettings]:
    """The scene's variables as a preset keeps them: lengths in units of the robot's reach; joints and the user's own
    variables belong to one scene and stay out."""
    reach = catalogue.REACH_SHARE * props.reach
    result = []
    for item in props.variables:
        entry = catalogue.find(item.name)
        if entry is not None:
            v = read(item)
            result.append(replace(v, low=v.low / reach, high=v.high / reach) if entry.scaled else v)
    return result


def default_of(item: Any) -> Default | None:
    """The default of one entry of the list; None for the user's own variables."""
    props = item.id_data.robot_keypoints
    if item.name.startswith("joint/"):
        limits = (exact(item.limit_low, item.unit), exact(item.limit_high, item.unit)) if item.limited else None
        return joint_default(item.name.removeprefix("joint/"), limits, item.unit == "m", item.held)
    return scene_defaults(props).get(item.name)


def read(item: Any) -> VariableSettings:
    """One entry of the list; constant where it is not to vary."""
    unit, path = str(item.unit), str(item.path)
    concentration = exact(item.concentration, "")
    if not item.use:
        value = exact(item.value, unit)
        return VariableSettings(item.name, value, value, 1, concentration, False, False, unit, path)
    low, high = exact(item.low, unit), exact(item.high, unit)
    circular = bool(item.circular) and item.low < item.high
    return VariableSettings(item.name, low, high, item.bins, concentration, circular, item.adapt, unit, path)


def write(item: Any, settings: VariableSettings, usual: VariableSettings | None = None) -> None:
    """Fill an entry of the list; ``usual`` says what it ranges over once it varies."""
    constant = settings.low == settings.high
    source = usual if constant and usual is not None else settings
    with quietly():
        item.name, item.unit, item.path = settings.name, settings.unit, settings.path
        item.low, item.high, item.bins = source.low, source.high, source.bins
        item.circular, item.adapt = source.circular, source.adapt
        item.concentration = settings.concentration
        item.use = not constant
        item.value = settings.low if constant else min(max(_neutral(item), settings.low), settings.high)
        item.choices = "\n".join(choice_names.names(item.id_data.robot_keypoints, item.name))
        item.changed = False


def _neutral(item: Any) -> float:
    entry = catalogue.find(item.name)
    if entry is None:
        return 0.0
    reach = catalogue.REACH_SHARE * item.id_data.robot_keypoints.reach
    return entry.neutral * reach if entry.scaled else entry.neutral


def write_default(item: Any, default: Default) -> None:
    """Fill an entry with its default."""
    write(item, default.settings, default.usual)
    item.limited, item.held = default.limits is not None, default.fixed
    item.limit_low, item.limit_high = default.limits or (0.0, 0.0)


def mark(item: Any) -> None:
    """Note whether an entry still is as the preset has it."""
    default = default_of(item)
    item.changed = default is not None and not same(read(item), default.settings)
    scene_check_report.outdate()


def same(a: VariableSettings, b: VariableSettings) -> bool:
    """Whether two priors are the same as far as single precision can tell."""

    def close(x: float, y: float) -> bool:
        return math.isclose(x, y, rel_tol=1e-5, abs_tol=1e-7)

    if not (close(a.low, b.low) and close(a.high, b.high)):
        return False
    return a.low == a.high or (
        a.bins == b.bins and close(a.concentration, b.concentration) and (a.circular, a.adapt) == (b.circular, b.adapt)
    )


def reset(props: Any, items: Iterable[Any]) -> None:
    """Put entries back to the preset; joints to all that their limits allow. The user's own stay as they are."""
    defaults = scene_defaults(props)
    for item in items:
        default = default_of(item) if item.name.startswith("joint/") else defaults.get(item.name)
        if default is not None:
            write_default(item, default)


def synchronise(props: Any, joints: Mapping[str, Default]) -> None:
    """Have exactly the variables that robots, groups of links and folders now ask for, and the user's own.

    Entries that stay keep what the user has set; where their choices are others now, what is chosen keeps its name.

    Args:
        joints: the joints' defaults by variable name, in the order of the list.
    """
    kept = {item.name: _snapshot(item) for item in props.variables}
    active = [_name_at(props, i) for i in (props.variable_index, props.joint_index)]
    own = [item.name for item in props.variables if item.path]
    wanted = {**joints, **scene_defaults(props)}
    props.variables.clear()
    for name, default in wanted.items():
        item = props.variables.add()
        write_default(item, default)
        if name in kept:
            _restore(item, kept[name], default)
    for name in own:
        _restore(props.variables.add(), kept[name], None)
    names = [item.name for item in props.variables]
    props.variable_index, props.joint_index = (names.index(n) if n in names else 0 for n in active)


FIELDS = ("name", "use", "value", "low", "high", "bins", "concentration", "circular", "adapt", "unit", "path")


def _snapshot(item: Any) -> dict[str, Any]:
    return {f: getattr(item, f) for f in (*FIELDS, "choices", "changed")}


def _restore(item: Any, kept: Mapping[str, Any], default: Default | None) -> None:
    """Put back what the user had set, unless the entry was as the preset had it."""
    if default is not None and not kept["changed"]:
        return
    now = item.choices.splitlines()
    with quietly():
        for f in FIELDS:
            setattr(item, f, kept[f])
        if now and kept["choices"] != item.choices:
            _rename_choices(item, kept, now)
        item.changed = kept["changed"]


def _rename_choices(item: Any, kept: Mapping[str, Any], now: list[str]) -> None:
    """Keep the meaning of an entry whose choices have changed."""
    before = kept["choices"].splitlines()
    constant = before[catalogue.choice(kept["value"], len(before))] if before else ""
    item.value = (now.index(constant) if constant in now else 0) + 0.5
    chosen = [now.index(n) for n in before[round(kept["low"]) : round(kept["high"])] if n in now]
    whole = round(kept["low"]) == 0 and round(kept["high"]) == len(before)
    low, high = (0, len(now)) if whole or not chosen else (min(chosen), max(chosen) + 1)
    item.high, item.low, item.bins = float(high), float(low), high - low


def _name_at(props: Any, index: int) -> str:
    return str(props.variables[index].name) if 0 <= index < len(props.variables) else ""


def listed(props: Any, search: str = "") -> Iterator[Any]:
    """The entries that the list shows: those of the open group, or of all groups those with the letters ``search``."""
    wanted = search.lower().strip()
    prefix = f"{props.group}/"
    for item in props.variables:
        if matches(item.name, wanted) if wanted else item.name.startswith(prefix):
            yield item


def matches(name: str, search: str) -> bool:
    """Whether a variable's name has the letters of every word of ``search``."""
    text = name.lower().replace("_", " ")
    return all(word in text for word in search.replace("_", " ").split())


def exact(value: float, unit: str) -> float:
    """The number a person meant by a single-precision value: whole ten-thousandths of a degree where that is the same
    value, else the shortest decimal."""
    single = np.float32(value)
    angle = math.radians(round(math.degrees(value), 4))
    if unit == "rad" and np.float32(angle) == single:
        return angle
    return float(str(single))
