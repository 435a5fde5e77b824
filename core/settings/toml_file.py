# SPDX-License-Identifier: GPL-3.0-or-later
"""``settings.toml``: what is written is read again, and whatever can't be used is refused in one sentence."""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from .. import builtin_models, files
from ..errors import UserError
from ..input_files import read_toml
from .renamed import with_new_names
from .schema import Settings

VERSION = 1
T = TypeVar("T")


def load(path: str | os.PathLike[str]) -> Settings:
    """Read ``settings.toml``; relative paths in it are taken from the file's own folder.

    Raises:
        UserError: naming the file, the setting and what to do.
    """
    file = Path(path)
    data = read_toml(file, "choose another settings file")
    version = data.pop("version", VERSION)
    if version != VERSION:
        raise UserError(f"{file} has settings of version {version}; this program reads version {VERSION}")
    settings = _build(Settings, _with_kinds(with_new_names(data, str(file))), str(file))
    folder = file.resolve().parent
    for r in settings.robots:
        given = next((name for name in ("path", "packages", "arguments") if getattr(r, name)), None)
        if r.kind == "builtin" and given is not None:
            raise UserError(f'{file}: {given} is not for the built-in robot: set kind = "urdf", or take {given} out')
    robot, *others = (
        replace(r, path=_absolute(r.path, folder), packages={k: _absolute(v, folder) for k, v in r.packages.items()})
        for r in settings.robots
    )
    scene = replace(settings.scene, worlds=_absolute(settings.scene.worlds, folder))
    augmentation = replace(settings.augmentation, backgrounds=_absolute(settings.augmentation.backgrounds, folder))
    stream = replace(settings.stream, keys=_absolute(settings.stream.keys, folder))
    training = replace(
        settings.training, weights=_absolute(settings.training.weights, folder),
        start_from=_model(settings.training.start_from, folder),
    )  # fmt: skip
    sets = tuple(replace(d, path=_absolute(d.path, folder)) for d in settings.data)
    return replace(
        settings, robot=robot, others=tuple(others), scene=scene, augmentation=augmentation, stream=stream,
        training=training, data=sets,
    )  # fmt: skip


def save(settings: Settings, path: str | os.PathLike[str]) -> None:
    """Write ``settings.toml``, whole or not at all."""
    data = {"version": VERSION, **_plain(dataclasses.asdict(settings))}
    files.write_text(path, tomli_w.dumps(data))


def _with_kinds(data: dict[str, Any]) -> dict[str, Any]:
    """The settings, where a robot that has a file but no ``kind`` gets the one that its file tells."""

    def known(robot: Any) -> Any:
        if not isinstance(robot, dict) or "kind" in robot or not isinstance(robot.get("path"), str):
            return robot
        return {"kind": "armature" if robot["path"].endswith(".blend") else "urdf", **robot}

    others = data.get("others")
    parts = {"robot": known(data["robot"])} if "robot" in data else {}
    return {**data, **parts, **({"others": [known(r) for r in others]} if isinstance(others, list) else {})}


def _absolute(path: str, folder: Path) -> str:
    return str(folder / os.path.expanduser(path)) if path else ""  # which leaves strangers' homes as they stand


def _model(word: str, folder: Path) -> str:
    """A model's file; one that comes along keeps its name, unless a file has it."""
    path = _absolute(word, folder)
    return word if word.lower() in builtin_models.models() and not os.path.isfile(path) else path


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _build(cls: type[T], data: Any, where: str) -> T:
    """A data class from plain values, with every type and limit checked."""
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: this must be a table, not {data!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise UserError(f"{where}: there is no setting {key!r}; known here: {', '.join(fields)}")
    values = {}
    for name, f in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], f"{where}: {name}", f.metadata)
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise UserError(f"{where}: the setting {name!r} is missing")
    return cls(**values)


def _value(hint: Any, value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, not {value!r}")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_value(arguments[0], v, f"{where}[{i + 1}]", {}) for i, v in enumerate(value))
        if len(value) != len(arguments):
            raise UserError(f"{where} must have {len(arguments)} entries, not {len(value)}")
        return tuple(
            _value(a, v, f"{where}[{i + 1}]", {}) for i, (a, v) in enumerate(zip(arguments, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise UserError(f"{where} must be a table of texts, not {value!r}")
        return dict(value)
    if isinstance(hint, types.UnionType):
        raise TypeError(f"settings of type {hint} are not supported")
    return _scalar(hint, value, where, metadata)


def _scalar(hint: type, value: Any, where: str, metadata: Mapping[str, Any]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise UserError(f"{where} must be {kinds[hint]}, not {value!r}")
    options = metadata.get("options")
    if options and value not in options:
        raise UserError(f"{where} must be one of {', '.join(options)}, not {value!r}")
    low, high = metadata.get("low"), metadata.get("high")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be finite, not {value}")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise UserError(f"{where} must be {bounds}, not {value}")
    return value
