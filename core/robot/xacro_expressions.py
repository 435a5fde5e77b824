# SPDX-License-Identifier: GPL-3.0-or-later
"""Evaluates the expressions of xacro files over their syntax tree: nothing of theirs is ever run by Python.

Values are numbers, texts, lists, tuples, dictionaries, sets and the functions of :mod:`.xacro_functions`. Attributes
are looked up in tables of ours and in dictionaries read from YAML, never on a Python object.
"""

from __future__ import annotations

import ast
import contextlib
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .xacro_budget import BITS, Budget, XacroError, check_keys, check_length
from .xacro_functions import PLAIN, Function, items, method

LONGEST = 10_000
"""Characters of an expression."""
DEEPEST = 100
"""Operations inside one another, and functions that call one another."""
KEPT = 500
"""Characters of an expression whose syntax tree is kept; shorter ones come again and again."""
MOST_KEPT = 2_000

UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Not: operator.not_, ast.Invert: operator.invert,
}  # fmt: skip
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor,
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
FIELD = re.compile(r"%(?:\(\w+\))?[-+ #0]*(\d*)(?:\.(\d*))?([diouxXeEfFgGrsac%])")
"""One field of a format; a ``*`` for its width is not known."""


class Evaluator:
    """Evaluates expressions with one budget for all of them."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._depth = 0
        self._trees: dict[str, ast.expr] = {}

    def evaluate(self, text: str, names: Any) -> Any:
        """The value of one expression.

        Args:
            text: what stands between ``${`` and ``}``.
            names: looked up with ``[]``, which raises KeyError for what is not defined.

        Raises:
            XacroError: if the expression is none, uses what is not offered, or asks for too much.
            ArithmeticError, LookupError, TypeError, ValueError: as Python's own operations do.
        """
        return self._value(self._tree(text.strip()), names)

    def _tree(self, text: str) -> ast.expr:
        known = self._trees.get(text)
        if known is not None:
            return known
        if len(text) > LONGEST:
            raise XacroError(f"an expression is longer than {LONGEST:,} characters")
        self._budget.spend(1 + len(text) // 4)
        try:
            tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
            raise XacroError(f"{text[:60]!r} is no expression") from problem
        if len(text) <= KEPT and len(self._trees) < MOST_KEPT:
            self._trees[text] = tree
        return tree

    def _value(self, node: ast.expr, names: Any) -> Any:
        self._budget.spend(1)
        self._depth += 1
        try:
            if self._depth > DEEPEST:
                raise XacroError(f"an expression has more than {DEEPEST} operations inside one another")
            handler = getattr(self, f"_{type(node).__name__.lower()}", None)
            if handler is None:
                raise XacroError(f"a {type(node).__name__} is nothing that a robot's file may have in an expression")
            return handler(node, names)
        finally:
            self._depth -= 1

    # ------------------------------------------------------------------------------------------------ names and parts

    def _constant(self, node: ast.Constant, names: Any) -> Any:
        if type(node.value) not in PLAIN:
            raise XacroError(f"{node.value!r} is no number and no text")
        return self._budget.bounded(node.value)

    def _name(self, node: ast.Name, names: Any) -> Any:
        _check_name(node.id)
        try:
            return names[node.id]
        except KeyError:
            raise XacroError(f"the name {node.id!r} is not defined") from None

    def _attribute(self, node: ast.Attribute, names: Any) -> Any:
        _check_name(node.attr)
        owner, name = self._value(node.value, names), node.attr
        if type(owner) in PLAIN:
            found = method(owner, name, self._budget)
            if found is not None:
                return found
        if isinstance(owner, dict) and type(owner) is not dict:  # YAML, names of ours, or those of an included file
            with contextlib.suppress(KeyError):
                return owner[name]
        raise XacroError(f"{ast.unparse(node)[:60]} is not defined, or nothing that a robot's file may use")

    def _subscript(self, node: ast.Subscript, names: Any) -> Any:
        owner = self._plain(node.value, names)
        if isinstance(node.slice, ast.Slice):
            parts = node.slice.lower, node.slice.upper, node.slice.step
            return self._budget.bounded(owner[slice(*(p and self._plain(p, names) for p in parts))])
        key = self._plain(node.slice, names)
        try:
            return owner[key]
        except (KeyError, IndexError):
            raise XacroError(f"{ast.unparse(node.value)[:60]} has no {str(key)[:60]!r}") from None

    def _plain(self, node: ast.expr, names: Any) -> Any:
        """A value that can be computed with, unlike a table of names."""
        value = self._value(node, names)
        if type(value) not in PLAIN:
            raise XacroError(f"{ast.unparse(node)[:60]} is no value")
        return value

    # ----------------------------------------------------------------------------------------------------- operations

    def _unaryop(self, node: ast.UnaryOp, names: Any) -> Any:
        return UNARY[type(node.op)](self._plain(node.operand, names))

    def _boolop(self, node: ast.BoolOp, names: Any) -> Any:
        until = isinstance(node.op, ast.Or)
        value: Any = None
        for part in node.values:
            value = self._plain(part, names)
            if bool(value) is until:
                break
        return value

    def _ifexp(self, node: ast.IfExp, names: Any) -> Any:
        return self._value(node.body if self._plain(node.test, names) else node.orelse, names)

    def _compare(self, node: ast.Compare, names: Any) -> Any:
        left = self._plain(node.left, names)
        for compared, part in zip(node.ops, node.comparators, strict=True):
            right = self._plain(part, names)
            self._budget.bounded([left, right])  # as it takes as long
            if not COMPARISONS[type(compared)](left, right):
                return False
            left = right
        return True

    def _binop(self, node: ast.BinOp, names: Any) -> Any:
        left, right = self._plain(node.left, names), self._plain(node.right, names)
        of_numbers = isinstance(left, int) and isinstance(right, int)
        if isinstance(node.op, ast.Mult):
            for several, times in ((left, right), (right, left)):
                if isinstance(several, str | list | tuple) and isinstance(times, int):
                    check_length(len(several) * times)
        elif of_numbers and _grows(node.op, left, right):
            raise XacroError(f"{ast.unparse(node)[:60]} is too large")
        elif isinstance(node.op, ast.Mod) and isinstance(left, str):
            return self._budget.bounded(formatted(left, right))
        known = BINARY.get(type(node.op))
        if known is None:
            raise XacroError(f"{ast.unparse(node)[:60]} is no operation on numbers")
        return self._budget.bounded(known(left, right))

    # ------------------------------------------------------------------------------------------------------- displays

    def _list(self, node: ast.List, names: Any) -> Any:
        return self._budget.bounded([self._plain(part, names) for part in node.elts])

    def _tuple(self, node: ast.Tuple, names: Any) -> Any:
        return self._budget.bounded(tuple(self._plain(part, names) for part in node.elts))

    def _set(self, node: ast.Set, names: Any) -> Any:
        check_keys(len(node.elts))
        return self._budget.bounded({self._plain(part, names) for part in node.elts})

    def _dict(self, node: ast.Dict, names: Any) -> Any:
        check_keys(len(node.keys))
        pairs = zip(node.keys, node.values, strict=True)
        return self._budget.bounded({self._key(k, names): self._plain(v, names) for k, v in pairs})

    def _key(self, node: ast.expr | None, names: Any) -> Any:
        if node is None:
            raise XacroError("a dictionary inside a dictionary is not unpacked")
        return self._plain(node, names)

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp, names: Any) -> Any:
        return self._budget.bounded([self._plain(node.elt, scope) for scope in self._rounds(node.generators, names)])

    _generatorexp = _listcomp

    def _setcomp(self, node: ast.SetComp, names: Any) -> Any:
        found: set[Any] = set()
        for scope in self._rounds(node.generators, names):
            found.add(self._plain(node.elt, scope))
            check_keys(len(found))
        return self._budget.bounded(found)

    def _dictcomp(self, node: ast.DictComp, names: Any) -> Any:
        found: dict[Any, Any] = {}
        for scope in self._rounds(node.generators, names):
            found[self._plain(node.key, scope)] = self._plain(node.value, scope)
            check_keys(len(found))
        return self._budget.bounded(found)

    def _rounds(self, generators: list[ast.comprehension], names: Any) -> Iterator[Any]:
        """The names in each round of a comprehension; rounds and what they give are both counted."""
        if not generators:
            yield names
            return
        first, *others = generators
        if first.is_async:
            raise XacroError("nothing in a robot's file is asynchronous")
        for item in items(self._plain(first.iter, names)):
            self._budget.spend(1)
            scope = _Local(names, dict(_assigned(first.target, item)))
            if all(self._plain(condition, scope) for condition in first.ifs):
                yield from self._rounds(others, scope)

    # ---------------------------------------------------------------------------------------------------------- calls

    def _call(self, node: ast.Call, names: Any) -> Any:
        function = self._value(node.func, names)
        if not isinstance(function, Function):
            raise XacroError(f"{ast.unparse(node.func)[:60]} is no function")
        given: list[Any] = []
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                given += items(self._plain(argument.value, names))
                check_length(len(given))
            else:
                given.append(self._plain(argument, names))
        named = {k.arg: self._plain(k.value, names) for k in node.keywords if k.arg is not None}
        if len(named) < len(node.keywords):
            raise XacroError("named arguments are written out, name=value")
        return function(*given, **named)

    def _lambda(self, node: ast.Lambda, names: Any) -> Function:
        a = node.args
        if a.posonlyargs or a.vararg or a.kwonlyargs or a.kwarg or a.defaults:
            raise XacroError("a lambda's parameters are plain names")
        parameters = [p.arg for p in a.args]

        def call(*given: Any) -> Any:
            if len(given) != len(parameters):
                raise XacroError(f"a lambda of {len(parameters)} parameters is given {len(given)}")
            return self._plain(node.body, _Local(names, dict(zip(parameters, given, strict=True))))

        return Function("lambda", call, self._budget)


class _Local:
    """Names of a comprehension's round or a lambda's call, before those around it."""

    def __init__(self, around: Any, own: Mapping[str, Any]) -> None:
        self._around, self._own = around, own

    def __getitem__(self, name: str) -> Any:
        return self._own[name] if name in self._own else self._around[name]


def _assigned(target: ast.expr, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        parts = items(value)
        if len(parts) != len(target.elts):
            raise XacroError(f"{len(parts)} values don't go into {len(target.elts)} names")
        for name, part in zip(target.elts, parts, strict=True):
            yield from _assigned(name, part)
    else:
        raise XacroError("a comprehension gives values to names only")


def _grows(operation: ast.operator, left: int, right: int) -> bool:
    """Whether a result would be far larger than numbers may be."""
    if isinstance(operation, ast.Pow):
        return right > 0 and left.bit_length() * right > 2 * BITS
    return isinstance(operation, ast.LShift) and right > BITS


def _check_name(name: str) -> None:
    if name.startswith("__"):
        raise XacroError(f"the name {name[:40]!r} begins with a double underscore")


def formatted(text: str, values: Any) -> str:
    """``text % values``, where widths and precisions are bounded.

    Raises:
        XacroError: if a field is unknown or too wide.
        TypeError, ValueError: as Python's own ``%`` does.
    """
    rest = FIELD.sub("", text)
    if "%" in rest:
        raise XacroError(f"{text[:40]!r} has a format that is not known")
    fields = FIELD.findall(text)
    for width, precision, _ in fields:
        for number in (width, precision):
            if number and (len(number) > 3 or int(number) > 200):
                raise XacroError(f"{text[:40]!r} has a format of more than 200 characters")
    longest = max((len(v) for v in items(values) if isinstance(v, str)), default=0) if _several(values) else 0
    check_length(len(text) + len(fields) * (200 + (len(values) if isinstance(values, str) else longest)))
    return str(text % values)


def _several(values: Any) -> bool:
    return isinstance(values, tuple | list)
