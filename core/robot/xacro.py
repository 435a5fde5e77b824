# SPDX-License-Identifier: GPL-3.0-or-later
"""Expands xacro files with ROS's own library, whose ways into Python, to files and to endless work are closed.

The library keeps macros, properties and scopes. Expressions are evaluated by :mod:`.xacro_expressions`, files are read
by :mod:`.xml_files` from the robot's own folders only, and everything is counted by one :class:`.Budget`.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import itertools
import keyword
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.dom import minidom
from xml.etree.ElementTree import Element

from ..errors import UserError
from . import xml_files
from .package_paths import FileFinder
from .xacro_budget import Budget, XacroError, check_length
from .xacro_expressions import Evaluator
from .xacro_functions import Function, constants_and_functions, global_symbols, types

PER_ELEMENT, PER_TEXT = 20, 10
"""Steps that an element and an attribute or text of the expansion count for."""
DEEPEST_INCLUDE = 30
MOST_MATCHES = 100
"""Files that one include may name by a pattern."""
WITHHELD = ("compile", "eval", "exec", "open")
"""Builtins that the library no longer finds while it expands a file."""
PARAMETER = re.compile(
    r"^\s*([^\s:=]+?)\s*:?=\s*(\^\|?)?(\$\{[^}\n]*\}|\$\([^)\n]*\)|(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"]++)+|)(?:\s+|$)(.*)"
)
"""One parameter of a macro with its default, as the library's own, but in time that grows with its length only."""
SOURCES = {"urdf", "xacro", "robot", "robots", "model", "models", "description"}
"""Folders of a robot's package that hold descriptions; what they load lies beside them."""


def expand(path: Path, find: FileFinder, arguments: Mapping[str, str]) -> bytes:
    """The URDF that a xacro file describes.

    ``$(find PACKAGE)`` and ``package://`` in includes are looked up by ``find``. A robot's file describes a robot: it
    runs nothing, and reads xacro and YAML files from its own folder, its package and the packages that it names.

    Raises:
        UserError: if the library is missing, an argument is not given, or the file can't be expanded.
    """
    try:
        import xacro
        from xacro import substitution_args
    except ImportError as problem:
        raise UserError(
            f"{path.name} needs the library xacro, which this Python has not ({problem.name} is missing): "
            "install it with pip, or expand the file to a URDF first"
        ) from problem
    expansion = _Expansion(xacro, path, find)
    with (
        _replaced(xacro, expansion.of_library()),
        _replaced(substitution_args, expansion.of_substitutions()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            document = xacro.process_file(str(path), mappings=dict(arguments))
        except Exception as problem:  # the library lets through whatever an expression or a file raises
            cause: BaseException = problem
            while isinstance(getattr(cause, "exc", None), Exception):
                cause = cause.exc  # type: ignore[attr-defined]
            if isinstance(cause, UserError):
                raise cause from problem
            raise UserError(f"{path.name} can't be expanded ({_reason(problem)}): {_advice(problem)}") from problem
    return bytes(document.toxml(encoding="utf-8"))


@contextlib.contextmanager
def _replaced(module: Any, names: Mapping[str, Any]) -> Iterator[None]:
    """A module with other functions, and afterwards as it was."""
    missing = [name for name in names if name not in WITHHELD and not hasattr(module, name)]
    if missing:
        raise UserError(f"the installed xacro has no {missing[0]}, so it can't be kept from harm: install xacro 2.1.1")
    before = {name: vars(module)[name] for name in names if name in vars(module)}
    vars(module).update(names)
    try:
        yield
    finally:
        for name in names:
            if name in before:
                setattr(module, name, before[name])
            else:
                delattr(module, name)


class _Expansion:
    """What the library is given in place of its own functions while it expands one file."""

    def __init__(self, library: Any, path: Path, find: FileFinder) -> None:
        self._library = library
        self._find = find
        self._folders = _Folders(path, find)
        self._budget = Budget()
        self._evaluator = Evaluator(self._budget)
        self._symbols = global_symbols(self._budget, self._load_yaml, self._abs_filename, self._argument)
        self._yaml: dict[Path, Any] = {}
        self._eval_text, self._eval_all = library.eval_text, library.eval_all
        self._extension = library.eval_extension

    def of_library(self) -> dict[str, Any]:
        """Replacements in the module ``xacro``."""
        return {
            **dict.fromkeys(WITHHELD, _refuse),
            "_global_symbols": self._symbols,
            "abs_filename_spec": self._abs_filename,
            "eval_all": self._counted_all,
            "eval_extension": self._counted_extension,
            "eval_text": self._counted_text,
            "get_include_files": self._included,
            "is_valid_name": _is_name,
            "load_yaml": self._load_yaml,
            "parse": self._parse,
            "re_macro_arg": PARAMETER,
            "remove_previous_comments": _nothing,
            "replace_node": self._replace,
            "safe_eval": self._evaluate,
            "verbosity": 0,
            **dict.fromkeys(("filestack", "macrostack")),  # which would hold the whole file afterwards
            "substitution_args_context": {},
        }

    def of_substitutions(self) -> dict[str, Any]:
        """Replacements in the module ``xacro.substitution_args``."""
        return {**dict.fromkeys(WITHHELD, _refuse), "_eval": self._evaluate_arguments, "_eval_find": self._package}

    # ---------------------------------------------------------------------------------------------------- expressions

    def _evaluate(self, text: str, names: Any, _: Any = None) -> Any:
        return self._budget.bounded(self._evaluator.evaluate(text, names), per_step=4)

    def _evaluate_arguments(self, text: str, context: Mapping[str, Any]) -> str:
        """``$(eval …)``, in which the file's arguments are names."""
        from xacro import substitution_args

        given = context.get("arg", {})
        offered = {
            **constants_and_functions(self._budget), **types(self._budget), "true": True, "false": False,
            "arg": Function("arg", lambda name: substitution_args.convert_value(given[name], "auto"), self._budget),
            "env": Function("env", substitution_args._eval_env, self._budget),
            "find": Function("find", self._package, self._budget),
            "optenv": Function("optenv", substitution_args._eval_optenv, self._budget),
        }  # fmt: skip
        words = {name: substitution_args.convert_value(value, "auto") for name, value in given.items()}
        return str(self._evaluate(text, {**words, **offered}))

    def _argument(self, name: str) -> Any:
        return self._library.substitution_args_context["arg"][name]

    def _counted_text(self, text: str, symbols: Any) -> Any:
        self._budget.spend(PER_TEXT + len(text) // 4 + len(text) * text.count("$") // 4096)
        result = self._eval_text(text, symbols)
        self._budget.spend(len(result) // 4 if isinstance(result, str) else 1)
        return result

    def _counted_extension(self, text: str) -> Any:
        result = self._extension(text)
        check_length(len(result))
        self._budget.spend(1 + len(result) // 4)
        return result

    def _counted_all(self, node: Any, macros: Any, symbols: Any) -> None:
        self._budget.spend(PER_ELEMENT)
        self._eval_all(node, macros, symbols)

    # ---------------------------------------------------------------------------------------------------------- files

    def _package(self, name: str) -> str:
        return str(self._folders.package(name))

    def _abs_filename(self, name: str) -> str:
        if not isinstance(name, str):
            raise XacroError(f"{str(name)[:40]!r} is no file's name")
        if name.startswith(("package://", "file://")):
            path = self._find(name)
            if path is None:
                raise XacroError(f"{name[:200]} was not found")
            return str(path)
        files = self._library.filestack
        return os.path.join(os.path.dirname(files[-1]) if files else "", name)

    def _included(self, name: str, symbols: Any) -> Iterator[str]:
        """The files that an include names, perhaps by a pattern."""
        path = Path(self._abs_filename(str(self._library.eval_text(name, symbols))))
        if not re.search(r"[*?\[]", path.name) or path.is_file():
            yield str(path)
            return
        folder = self._folders.checked(path.parent)
        names = os.listdir(folder) if folder.is_dir() else []
        for match in sorted(fnmatch.filter(names, path.name))[:MOST_MATCHES]:
            yield str(folder / match)

    def _parse(self, _: Any, filename: str) -> minidom.Document:
        files = self._library.filestack
        path = self._folders.checked(Path(filename))
        if len(files) > DEEPEST_INCLUDE:
            raise XacroError("files include one another without end")
        if not path.exists():
            files.pop()  # so it is the including file that is named; the library goes on where the include is optional
            raise self._library.XacroException(f"{filename} was not found", exc=FileNotFoundError())
        data = xml_files.read_file(path)
        self._budget.spend(len(data) // 4)
        return _document(xml_files.parse(data, path.name))

    def _replace(self, node: Any, by: Any, content_only: bool = False) -> None:
        """Put one or several nodes, or what they hold, in the place of ``node``; the library's own takes time that
        grows with the square of their number."""
        parent = node.parentNode
        several = by if isinstance(by, list) else [] if by is None else [by]
        new = [child for one in several for child in one.childNodes] if content_only else several
        self._budget.spend(1 + len(parent.childNodes) // 100 + len(new) // 4)
        place = parent.childNodes.index(node)
        before, after = node.previousSibling, node.nextSibling
        if content_only:
            for one in several:
                one.childNodes.clear()
        parent.childNodes[place : place + 1] = new
        node.parentNode = node.previousSibling = node.nextSibling = None
        for child in new:
            child.parentNode = parent
        chain = [before, *new, after]
        for left, right in itertools.pairwise(chain):
            if left is not None:
                left.nextSibling = right
            if right is not None:
                right.previousSibling = left

    def _load_yaml(self, name: str) -> Any:
        from . import xacro_yaml  # here, because the library PyYAML comes with xacro

        path = self._folders.checked(Path(self._abs_filename(name)))
        if path not in self._yaml:
            data = xml_files.read_file(path, xacro_yaml.LARGEST)
            self._yaml[path] = xacro_yaml.parse(
                data, path.name, lambda text: self._evaluate(text, self._symbols), self._budget
            )
        return self._yaml[path]


class _Folders:
    """The folders from which one robot's description may read."""

    def __init__(self, description: Path, find: FileFinder) -> None:
        self._find = find
        self._above = set(description.resolve().parents)
        self._own = [_top(description.resolve())]
        self._given = [Path(os.path.abspath(folder)) for folder in find.packages.values()]

    def package(self, name: str) -> Path:
        """The folder of a package, from which may be read from now on.

        Raises:
            XacroError: if there is none.
        """
        folder = self._find.package(name) if re.fullmatch(r"[\w-]+", name) else None
        if folder is None:
            raise XacroError(f"the package {name[:80]} was not found")
        folder = Path(os.path.abspath(folder))
        if folder not in self._above and folder.parent not in self._above:
            self._given.append(folder)  # where the user's own settings say
        elif folder.parent in (Path(folder.anchor), Path.home()) and not (folder / "package.xml").is_file():
            raise XacroError(f"the package {name[:80]} was not found (the folder {folder} has no package.xml)")
        else:
            self._own.append(folder)
        return folder

    def checked(self, path: Path) -> Path:
        """``path``, if it may be read. Links lead out of a folder only where the user said that it is a package.

        Raises:
            XacroError: if not.
        """
        plain, real = Path(os.path.abspath(path)), Path(os.path.realpath(path))
        inside = [plain.relative_to(f) for f in self._given if plain.is_relative_to(f)]
        inside += [real.relative_to(r) for r in map(Path.resolve, self._own) if real.is_relative_to(r)]
        if not any(all(not part.startswith(".") for part in found.parts) for found in inside):
            raise XacroError(f"{plain} lies outside of the robot's folders and of the packages that it names")
        return plain


def _top(description: Path) -> Path:
    """The folder of the package that a description belongs to."""
    for folder in description.parents:
        if (folder / "package.xml").is_file():
            return folder
    near = (folder for folder in list(description.parents)[:3] if folder.name.lower() in SOURCES)
    return next((folder.parent for folder in near), description.parent)


def _document(root: Element) -> minidom.Document:
    """What the library works on; without comments, which no URDF needs and which it would copy with every macro."""
    document = minidom.Document()

    def made(element: Element) -> minidom.Element:
        node = document.createElement(element.tag)
        for name, value in element.items():
            node.setAttribute(name, value)
        if element.text:
            node.appendChild(document.createTextNode(element.text))
        for child in element:
            node.appendChild(made(child))
            if child.tail:
                node.appendChild(document.createTextNode(child.tail))
        return node

    document.appendChild(made(root))
    return document


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)


def _nothing(_: Any) -> None:
    """There are no comments."""


def _refuse(*_: Any, **__: Any) -> Any:
    raise XacroError("a robot's file neither runs nor opens anything by itself")


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
