# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of variables leave the marginals alone, draws follow their density, and nothing else is taken for pairs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from robot_keypoints.core.scene.pair import MOST_PAIRS, Pair, cell_masses, cell_of, fitted, read_pairs
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel, Variable, log_density_ratio

A = Variable("joint/a", Prior(-1.0, 1.0, (1.0, 2.0, 3.0, 1.0, 1.0, 4.0)))
B = Variable("joint/b", Prior.symmetric(-np.pi, np.pi, 8, circular=True))
C = Variable("light/choice", Prior.symmetric(0.0, 3.0, 3))
ALONE = SceneModel((A, B, C))


def ratios(first: Variable, second: Variable, seed: int) -> tuple[tuple[float, ...], ...]:
    """Uneven ones that fit the variables."""
    shape = (len(cell_masses(first.prior)), len(cell_masses(second.prior)))
    table = fitted(np.random.default_rng(seed).uniform(0.2, 3.0, shape), first.prior, second.prior)
    return tuple(tuple(row) for row in table.tolist())


AB, CB = Pair("joint/a", "joint/b", ratios(A, B, 1)), Pair("light/choice", "joint/b", ratios(C, B, 2))
PAIRED = replace(ALONE, pairs=(AB, CB), version=1)


def grid() -> np.ndarray:
    """Every combination of bins ``(N, 3)``."""
    return np.stack(np.meshgrid(*(np.arange(v.prior.bins) for v in ALONE.variables), indexing="ij"), -1).reshape(-1, 3)


def probabilities(model: SceneModel) -> np.ndarray:
    """Of every combination of bins, by the log density of its middle."""
    width = [(v.prior.high - v.prior.low) / v.prior.bins for v in model.variables]
    draws = [
        SceneDraw(
            {}, {v.name: v.prior.low + (k + 0.5) * w for v, k, w in zip(model.variables, row, width, strict=True)}
        )
        for row in grid()
    ]
    return np.exp([model.log_prob(d) for d in draws]) * np.prod(width)


def test_the_density_adds_up_to_one_and_has_the_marginals() -> None:
    found = probabilities(PAIRED)
    assert found.sum() == pytest.approx(1.0)
    assert not np.allclose(found, probabilities(ALONE), rtol=0.2)
    for column, variable in enumerate(PAIRED.variables):
        sums = np.bincount(grid()[:, column], found)
        assert np.allclose(sums, variable.prior.marginal, atol=1e-6)


def test_draws_follow_the_density() -> None:
    rng, count = np.random.default_rng(3), 40_000
    shape = tuple(v.prior.bins for v in PAIRED.variables)
    seen = np.zeros(shape)
    for _ in range(count):
        latents = PAIRED.sample(rng)
        seen[tuple(latents.bins[v.name] for v in PAIRED.variables)] += 1
    expected = count * probabilities(PAIRED)
    scatter = ((seen.ravel() - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert abs(scatter - freedom) < 4 * np.sqrt(2 * freedom)
    alone = count * probabilities(ALONE)  # the test can tell
    assert ((seen.ravel() - alone) ** 2 / alone).sum() > 10 * freedom


def test_a_draw_lies_in_the_bin_that_it_names() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        latents = PAIRED.sample(rng)
        for v in PAIRED.variables:
            assert int(v.prior.bin_of(latents.values[v.name])) == latents.bins[v.name]


def test_without_pairs_the_same_numbers_give_the_same_draw_as_ever() -> None:
    flat = replace(AB, ratios=((1.0,) * 4,) * 4)
    one, other = (m.sample(np.random.default_rng(5)) for m in (ALONE, replace(ALONE, pairs=(flat,))))
    assert one.bins == other.bins and one.values == pytest.approx(other.values)


def test_the_density_ratio_is_that_of_the_densities() -> None:
    moved = replace(A, prior=A.prior.with_concentration((2.0, 1.0, 1.0, 1.0, 1.0, 1.0)))
    pair = Pair("joint/a", "joint/b", ratios(moved, B, 6))
    other = SceneModel((moved, B, C), 2, (pair,))
    found = log_density_ratio(PAIRED, other, grid())
    assert np.allclose(np.exp(found), probabilities(PAIRED) / probabilities(other))
    unknown = np.array([[-1, 2, 1]])
    assert log_density_ratio(PAIRED, other, unknown)[0] == pytest.approx(np.log(CB.table[cell_of(1, 3), cell_of(2, 8)]))


def test_some_variables_keep_the_pairs_among_them() -> None:
    assert PAIRED.only(("joint/a", "joint/b")).pairs == (AB,)
    assert PAIRED.only(("joint/a", "light/choice")).pairs == ()


def test_pairs_go_through_json_and_back() -> None:
    text = json.dumps([pair.to_dict() for pair in PAIRED.pairs])
    again = ALONE.with_concentrations(ALONE.concentrations(), 1, read_pairs(json.loads(text)))
    assert again == PAIRED
    assert PAIRED.with_concentrations(ALONE.concentrations(), 2).pairs == ()


FLAT = [[1.0] * 4] * 4


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({}, "no list"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": FLAT}] * (MOST_PAIRS + 1), "no list of at most"),
        ([3], "name two variables"),
        ([{"variables": ["joint/a"], "ratios": FLAT}], "name two variables"),
        ([{"variables": ["joint/a", ["joint/b"]], "ratios": FLAT}], "name two variables"),
        ([{"variables": ["joint/a", "joint/a"], "ratios": FLAT}], "paired with itself"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": "no"}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": []}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[]]}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[1.0] * 4] * 100}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[1.0] * 100] * 4}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[1.0], [1.0, 1.0]]}], "no table"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[True] * 4] * 4}], "not numbers"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [["1"] * 4] * 4}], "not numbers"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[10**400] * 4] * 4}], "too large"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[float("nan")] * 4] * 4}], "not positive"),
        ([{"variables": ["joint/a", "joint/b"], "ratios": [[0.0] * 4] * 4}], "not positive"),
    ],
)
def test_anything_else_is_refused(entries: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_pairs(entries)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ((Pair("joint/a", "joint/z", AB.ratios),), "unknown variable 'joint/z'"),
        ((Pair("joint/a", "light/choice", AB.ratios),), "other cells"),
        ((Pair("joint/a", "joint/b", ((2.0,) * 4,) * 4),), "not one"),
        ((Pair("joint/a", "joint/b", ((1e308,) * 4,) * 4),), "not one"),
        ((AB, CB, Pair("joint/a", "light/choice", ratios(A, C, 3))), "circle"),
        ((AB, AB), "circle"),
    ],
)
def test_pairs_that_make_no_density_are_refused(pairs: tuple[Pair, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ALONE.with_concentrations({}, 1, pairs)
