# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions of xacro files: what published robots write gives Python's values; the rest is refused, soon."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from robot_keypoints.core.robot.xacro_budget import LARGEST, Budget, XacroError
from robot_keypoints.core.robot.xacro_expressions import Evaluator
from robot_keypoints.core.robot.xacro_functions import Record, dotted, global_symbols


def value_of(text: str, budget: Budget | None = None, **names: Any) -> Any:
    budget = budget or Budget()
    symbols = global_symbols(budget, lambda name: Record(), lambda name: f"/here/{name}", {"side": "left"}.__getitem__)
    return Evaluator(budget).evaluate(text, {**symbols, **names})


POSES = dotted({"arm": {"xyz": [1, 2.5, 3], "items": 4, "deep": [{"a": 5}]}})


@pytest.mark.parametrize(
    "text, value",
    [
        ("1./12 * mass * (3 * radius**2 + h**2)", 1.0 / 12 * 2 * (3 * 0.5**2 + 4**2)),
        ("-pi / 2 + radians(90)", 0.0),
        ("math.sin(pi/6) + python.abs(-1) + fabs(-2)", math.sin(math.pi / 6) + 3),
        ("7 // 2 * 7 % 4 - +3", 7 // 2 * 7 % 4 - 3),
        ("5 & 3 | 8 ^ 1 << 2 >> 1", 5 & 3 | 8 ^ 1 << 2 >> 1),
        ("2 ** 10", 1024),
        ("2 ** -1", 0.5),
        ("'' if no_prefix else name + '_'", "panda_"),
        ("name in ['panda', 'fr3'] and not no_prefix", True),
        ("'x' in direction or unknown", True),
        ("0 < mass <= 2 != 3", True),
        ("name == 'panda' and mass > 3", False),
        ("no_prefix is None", False),
        ("xyz.split(' ')[1]", "2"),
        ("[float(v) for v in xyz.split()]", [1.0, 2.0, 3.0]),
        ("[f.lower() for f in ['FF', 'RF'] if f != 'RF']", ["ff"]),
        ("{i: i * j for i in range(2) for j in [3]}", {0: 0, 1: 3}),
        ("{v % 2 for v in range(9)}", {0, 1}),
        ("python.sum(x * y for x, y in python.zip([1, 2], [3, 4]))", 11),
        ("list(map(int, '1 2 3'.split()))", [1, 2, 3]),
        ("python.filter(lambda v: v > 1, [1, 2, 3])", [2, 3]),
        ("python.sorted([3, 1, 2], reverse=True)[0]", 3),
        ("max([1, 4, 2], key=lambda v: -v)", 1),
        ("max(1, *[5, 2])", 5),
        ("python.sum([1, 2.5])", 3.5),
        ("python.isinstance(xyz, str)", True),
        ("python.isinstance(poses, dict)", True),
        ("python.isinstance(1, (list, float))", False),
        ("poses.arm.xyz[1] * poses['arm']['xyz'][0]", 2.5),
        ("poses.arm.deep[0].a", 5),
        ("poses.arm.get('gone', 7)", 7),
        ("[k for k, v in poses.items()]", ["arm"]),
        ("'arm' in poses and 'leg' not in poses", True),
        ("xacro.dotify(dict(a=1, b=dict(c=2))).b.c", 2),
        ("xacro.tokenize('a, b;c')", ["a", "b", "c"]),
        ("xacro.arg('side') + xacro.warning('look')", "left"),
        ("abs_filename('m.stl')", "/here/m.stl"),
        ("name[1:3] + name[-1] + name[::-1]", "ana" + "adnap"),
        ("'%s_%02d %.3f' % (name, 7, pi)", "panda_07 3.142"),
        ("'%d%%' % 5", "5%"),
        ("name.replace('p', 'b').upper().startswith('BAN')", True),
        ("'-'.join(['a', 'b'])", "a-b"),
        ("str([1, 'a']) + str(1.5)", "[1, 'a']1.5"),
        ("round(2.567, 1)", 2.6),
        ("[0] * 3 + [1]", [0, 0, 0, 1]),
        ("(1, 2)[1]", 2),
        ("int('7') + len('abc') + bool('')", 10),
        ("python.divmod(7, 3)", (2, 1)),
        ("python.enumerate('ab')", [(0, "a"), (1, "b")]),
        ("inf > 1e300", True),
    ],
)
def test_what_published_robots_write(text: str, value: Any) -> None:
    names = {"mass": 2, "radius": 0.5, "h": 4, "name": "panda", "no_prefix": False, "direction": "-x"}
    found = value_of(text, xyz="1 2 3", poses=POSES, **names)
    assert found == value and type(found) is type(value)


WAYS_OUT = [
    "().__class__",
    "(lambda: 0).__globals__",
    "[g.gi_frame for g in [(x for x in [1])]]",
    "(x for x in [1]).gi_frame.f_back.f_builtins",
    "python.vars(math)",
    "python.type('')",
    "python.hash(1)",
    "'{0.__class__}'.format(1)",
    "'a'.format_map(dict())",
    "'a'.encode()",
    "sin.call",
    "sin._call",
    "sin.name",
    "str.mro()",
    "str.join('a', 'b')",
    "poses.update(dict(a=1))",
    "poses.__class__",
    "poses.arm.xyz.append(1)",
    "math.__loader__",
    "xacro['arg']",
    "math['sin']",
    "len(math)",
    "[*math]",
    "f'{pi!r:>9}'",
    "(y := 1)",
    "__builtins__",
    "eval('1')",
    "open('/etc/passwd')",
    "import os",
    "1j",
    "(-1) ** 0.5",
    "b'bytes'",
    "...",
    "dict(**poses)",
    "(lambda *a: a)(1)",
    "python.isinstance(1, 1)",
    "5()",
    "poses.gone",
    "gone",
    "'%(x)*d' % 1",
    "'%1000d' % 1",
    "'%.1000f' % 1",
    "[x async for x in [1]]",
    "[1 for poses.arm in [1]]",
]


@pytest.mark.parametrize("text", WAYS_OUT)
def test_ways_out_of_expressions_are_closed(text: str) -> None:
    with pytest.raises((XacroError, TypeError)):
        value_of(text, poses=POSES)


WITHOUT_END = [
    "9**9**9",
    "2**2000",
    "1 << 10**9",
    "0x" + "f" * 9000,
    "'a' * 10**9",
    "[0] * 10**9",
    "10**9 * (1,)",
    "[[0] * 99999] * 99999",
    "'%0200d' * 9999 % ((1,) * 9999)",
    "'%s' * 9999 % (('a' * 9999,) * 9999)",
    "range(10**12)",
    "'a' in range(10**12)",
    "min(range(10**12))",
    "[0 for a in range(9999) for b in range(9999)]",
    "python.sum(1 for a in range(99999) for b in range(99999))",
    "[0 for x in [1] if [0 for y in range(99999) for z in range(99999)]]",
    "factorial(10**6)",
    "math.comb(10**6, 10**5)",
    "math.perm(10**6)",
    "math.prod([10**300] * 999)",
    "math.lcm(*range(1, 9999))",
    "round(1, -10**9)",
    "python.sum([10**300] * 999) ** 9",
    "'a'.replace('', 'b' * 99999)",
    "('b' * 99999).join('a' * 99999)",
    "'a'.ljust(10**9)",
    "'a'.zfill(10**9)",
    "{i for i in range(99999)}",
    "python.set(range(99999))",
    "dict(python.zip(range(99999), range(99999)))",
    "(lambda f: f(f))(lambda f: f(f))",
    "-" * 9000 + "1",
    "(" * 9000,
    "(" * 300 + "1" + ")" * 300,
    "1" + "+1" * 4000,
    "'" + "a" * 20000 + "'",
    "map(lambda a: map(lambda b: map(lambda c: c, range(9999)), range(9999)), range(9999))",
    "xacro.tokenize('a' * 50000 + '!', ']((a+)+)b[') * 99999",
]


@pytest.mark.parametrize("text", WITHOUT_END, ids=lambda text: text[:40])
def test_work_and_memory_are_bounded(text: str) -> None:
    budget = Budget(100_000)
    with pytest.raises((XacroError, MemoryError, OverflowError)):
        value_of(text, budget)
    assert budget.left > -LARGEST, "no more is done than was counted"


def test_many_small_expressions_have_one_budget() -> None:
    budget = Budget(1000)
    evaluator = Evaluator(budget)
    with pytest.raises(XacroError, match="more work"):
        for _ in range(1000):
            evaluator.evaluate("1 + 1", {})


def test_growth_from_value_to_value_is_counted() -> None:
    value: Any = [1, 1]
    with pytest.raises(XacroError, match="larger than"):
        for _ in range(64):
            value = value_of("[v, v]", v=value)


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    """The generator's frame that led out of the library's own evaluation."""
    text = "[f.f_back.f_back.f_builtins['open'](path, 'w') for f in [(x for x in [0]).gi_frame]]"
    with pytest.raises(XacroError, match="gi_frame is not defined"):
        value_of(text, path=str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()
