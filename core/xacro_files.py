# SPDX-License-Identifier: GPL-3.0-or-later
"""Expands xacro files with ROS's own library."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .packages import FileFinder

WITHHELD = ("vars", "type")
"""Functions that xacro offers to expressions though a stranger's file could reach the whole of Python through them."""


def expand(path: Path, find: FileFinder, arguments: Mapping[str, str]) -> bytes:
    """The URDF that a xacro file describes.

    ``$(find PACKAGE)`` and ``package://`` in includes are looked up by ``find``. Expressions may not contain double
    underscores anywhere: a robot's file describes a robot and runs nothing.

    Raises:
        UserError: if the library is missing, an argument is not given, or the file can't be expanded.
    """
    try:
        import xacro
    except ImportError as problem:
        raise UserError(
            f"{path.name} needs the library xacro, which this Python has not ({problem.name} is missing): "
            "install it with pip, or expand the file to a URDF first"
        ) from problem
    with _bounded(xacro, find), contextlib.redirect_stderr(io.StringIO()):
        try:
            document = xacro.process_file(str(path), mappings=dict(arguments))
        except Exception as problem:  # the library lets through whatever an expression or a file raises
            raise UserError(f"{path.name} can't be expanded ({_reason(problem)}): {_advice(problem)}") from problem
    return bytes(document.toxml(encoding="utf-8"))


@contextlib.contextmanager
def _bounded(xacro: Any, find: FileFinder) -> Iterator[None]:
    """The library with our packages and without its ways out; afterwards as it was."""
    from xacro import substitution_args

    plain_eval, plain_name, plain_find = xacro.safe_eval, xacro.abs_filename_spec, substitution_args._eval_find
    offered = xacro._global_symbols["python"]
    withheld = {name: offered.pop(name) for name in WITHHELD if name in offered}

    def package(name: str) -> str:
        folder = find.package(name)
        if folder is None:
            raise UserError(f"the package {name} was not found")
        return str(folder)

    def included(name: str) -> Any:
        if isinstance(name, str) and name.startswith(("package://", "file://")):
            path = find(name)
            if path is None:
                raise UserError(f"{name} was not found")
            return str(path)
        return plain_name(name)

    xacro.safe_eval = _careful(plain_eval)
    xacro.abs_filename_spec = included
    substitution_args._eval_find = substitution_args._eval_dict["find"] = package
    try:
        yield
    finally:
        xacro.safe_eval, xacro.abs_filename_spec = plain_eval, plain_name
        substitution_args._eval_find = substitution_args._eval_dict["find"] = plain_find
        offered.update(withheld)


def _careful(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    def careful(expression: str, *scopes: Any) -> Any:
        if "__" in expression:
            raise UserError(f"the expression {expression[:40]!r} has a double underscore")
        return evaluate(expression, *scopes)

    return careful


def _reason(problem: BaseException) -> str:
    """What is wrong, on one line; the library says some things twice."""
    if isinstance(problem, RecursionError):
        return "it includes or calls itself without end"
    text, inner = str(problem).strip(), str(getattr(problem, "exc", "")).strip()
    if inner and text.endswith(inner) and text != inner and "argument" not in text:
        text = text.removesuffix(inner)
    text = re.sub(r"<class '[\w.]+'>: ", "", " ".join(text.split()))
    return text[:200] or type(problem).__name__


def _advice(problem: BaseException) -> str:
    text = str(problem)
    if "substitution argument" in text:
        return "give that argument as NAME:=VALUE"
    if "package" in text:
        return "say where that package lies (robot.packages, or ROS_PACKAGE_PATH)"
    return "check the file"
