# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's probabilistic model as a whole."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneDraw, SceneModel, Variable, joint_variable, posterior


def model() -> SceneModel:
    return SceneModel(
        (
            Variable("joint/a", Prior(-math.pi, math.pi, (1.0, 3.0, 1.0, 0.5), circular=True), "rad"),
            Variable("joint/b", Prior(0.0, 0.4, (2.0, 1.0)), "m"),
            Variable("light/strength", Prior.symmetric(0.5, 4.0, 3), adapt=False),
            Variable("camera/roll", Prior.symmetric(0.1, 0.1, 4), "rad"),
        )
    )


def test_draws_follow_every_variable_and_are_independent() -> None:
    m = model()
    rng = np.random.default_rng(1)
    draws = [m.sample(rng) for _ in range(20_000)]
    table = {v.name: np.array([d.bins[v.name] for d in draws]) for v in m.variables}
    for name in ("joint/a", "joint/b", "light/strength"):
        prior = m[name].prior
        counts = np.bincount(table[name], minlength=prior.bins)
        assert scipy.stats.chisquare(counts, len(draws) * prior.marginal).pvalue > 1e-4
        assert (prior.bin_of([d.values[name] for d in draws]) == table[name]).all()
    for a, b in itertools.combinations(("joint/a", "joint/b", "light/strength"), 2):
        seen = np.histogram2d(table[a], table[b], bins=(m[a].prior.bins, m[b].prior.bins))[0]
        assert scipy.stats.chi2_contingency(seen).pvalue > 1e-4
    assert {d.values["camera/roll"] for d in draws} == {0.1}


def test_draws_are_reproducible() -> None:
    m = model()
    assert m.sample(np.random.default_rng(5)) == m.sample(np.random.default_rng(5))
    assert m.sample(np.random.default_rng(5)) != m.sample(np.random.default_rng(6))


def test_log_prob_is_the_sum_of_the_variables() -> None:
    m = model()
    latents = SceneDraw({}, {"joint/a": 0.1, "joint/b": 0.3, "light/strength": 1.0, "camera/roll": 0.1})
    expected = sum(float(v.prior.log_prob([latents.values[v.name]])[0]) for v in m.variables)
    assert m.log_prob(latents) == pytest.approx(expected)
    assert math.isfinite(expected)


def test_posterior_closed_form_over_the_model() -> None:
    m = model()
    rest = {"joint/b": 0.05, "light/strength": 1.0, "camera/roll": 0.1}
    selected = [SceneDraw({}, {"joint/a": x, **rest}) for x in (-3.0, -3.0, 3.0)]
    after = posterior(m, m, selected, forgetting=0.0, floor=0.0)
    assert after.version == m.version + 1
    assert after["joint/a"].prior.concentration == (3.0, 3.0, 1.0, 1.5)
    assert after["joint/b"].prior.concentration == (5.0, 1.0)
    assert after["light/strength"] == m["light/strength"], "a variable that does not adapt has changed"
    assert after["camera/roll"] == m["camera/roll"], "a constant has changed"


def test_posterior_forgets_towards_the_initial_model_and_keeps_the_floor() -> None:
    initial = model()
    now = initial
    latents = SceneDraw({}, {"joint/a": 0.1, "joint/b": 0.05, "light/strength": 1.0, "camera/roll": 0.1})
    for _ in range(60):
        now = posterior(now, initial, [latents] * 50, forgetting=0.5, floor=0.2)
    marginal = now["joint/a"].prior.marginal
    assert marginal.min() >= 0.2 / 4 - 1e-12
    assert marginal.argmax() == 2
    assert sum(now["joint/b"].prior.concentration) < sum(initial["joint/b"].prior.concentration) + 50 / 0.5 + 25
    assert now.version == 60


def test_nothing_selected_changes_nothing_but_the_version() -> None:
    m = model()
    after = posterior(m, m, [], forgetting=0.5, floor=0.2)
    assert after.variables == m.variables and after.version == 1


def test_concentrations_travel() -> None:
    m = model()
    after = m.with_concentrations({"joint/b": [7.0, 8.0]}, 3)
    assert after.version == 3
    assert after.concentrations() == m.concentrations() | {"joint/b": (7.0, 8.0)}
    with pytest.raises(ValueError, match="unknown variable 'joint/x'"):
        m.with_concentrations({"joint/x": [1.0]}, 1)
    with pytest.raises(ValueError, match="2 bins, not 3"):
        m.with_concentrations({"joint/b": [1.0, 1.0, 1.0]}, 1)
    with pytest.raises(ValueError, match="positive"):
        m.with_concentrations({"joint/b": [1.0, -1.0]}, 1)


def test_a_name_appears_once() -> None:
    twice = Variable("joint/a", Prior.symmetric(0, 1, 2))
    with pytest.raises(ValueError, match="'joint/a' appears twice"):
        SceneModel((twice, twice))
    with pytest.raises(KeyError):
        SceneModel((twice,))["joint/b"]


def test_joint_variables() -> None:
    turning = joint_variable("elbow", -1.0, 2.0, circular=False, bins=6)
    assert (turning.name, turning.unit, turning.prior.bins, turning.adapt) == ("joint/elbow", "rad", 6, True)
    assert joint_variable("lift", 0, 1, circular=False, linear=True).unit == "m"


def test_a_seed_follows_from_the_values_alone() -> None:
    first = SceneDraw({"a": 0, "b": 1}, {"a": 0.25, "b": -1.5})
    assert first.seed == SceneDraw({"b": 3, "a": 2}, {"b": -1.5, "a": 0.25}).seed
    assert first.seed != SceneDraw(first.bins, {"a": 0.25, "b": np.nextafter(-1.5, 0)}).seed
    assert 0 <= first.seed < 1 << 31
