# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of variables and the presets that choose among them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from robot_keypoints.core.scene import catalogue, presets
from robot_keypoints.core.scene.scene_model import SceneModel


def by_name(preset: str, reach: float = 1.0, **options: object) -> SceneModel:
    return SceneModel(presets.variables(preset, reach, **options))  # type: ignore[arg-type]


def test_lengths_scale_with_the_robot() -> None:
    small, large = by_name("fast", 0.5), by_name("fast", 1.0)
    for name in ("camera/distance", "camera/target_x", "camera/target_z", "objects/size", "surroundings/distance"):
        assert large[name].prior.high == pytest.approx(2 * small[name].prior.high)
        assert large[name].unit == "m"
    assert large["camera/azimuth"].prior.circular and large["camera/azimuth"].prior.high == math.pi
    assert catalogue.neutral(2.0)["camera/distance"] == 2 * catalogue.neutral(1.0)["camera/distance"]


def test_every_preset_has_every_variable_and_fast_varies_least() -> None:
    models = [by_name(p) for p in presets.PRESETS]
    names = [{v.name for v in m.variables} for m in models]
    assert all(found == {e.name for e in catalogue.ENTRIES} for found in names)
    fast, *others = ({v.name for v in m.variables if not v.prior.constant} for m in models)
    assert all(fast < other for other in others)
    assert others[-1] == names[-1], "everything varies everything"


@pytest.mark.parametrize("preset", presets.PRESETS)
def test_what_a_preset_names_exists(preset: str) -> None:
    chosen = presets.PRESETS[preset]
    groups = {e.name.split("/")[0] for e in catalogue.ENTRIES} | {"joint", "custom"}
    for name in chosen.varies:
        assert name in catalogue.BY_NAME or (name.endswith("/*") and name[:-2] in groups), name
    assert set(chosen.ranges) <= catalogue.BY_NAME.keys()


def test_what_does_not_vary_is_held_at_its_neutral_value() -> None:
    neutral = catalogue.neutral(0.7)
    for v in by_name("fast", 0.7).variables:
        if v.prior.constant:
            assert v.prior.low == neutral[v.name]
        entry = catalogue.find(v.name)
        assert entry is not None
        if not entry.choices:
            scale = 0.7 if entry.scaled else 1.0
            assert v.prior.low / scale <= entry.high and v.prior.high / scale >= entry.low


def test_categorical_values_are_choices_and_sub_ranges_keep_their_meaning() -> None:
    model = by_name("balanced")
    lamps = model["light/count"].prior
    assert (lamps.low, lamps.high, lamps.bins) == (0.0, 2.0, 2)
    rng = np.random.default_rng(0)
    drawn = {catalogue.choice(model.sample(rng).values["light/count"], 3) for _ in range(60)}
    assert drawn == {0, 1}
    assert catalogue.choice(8.0, 8) == 7


def test_link_groups_get_variables_of_their_own() -> None:
    model = by_name("fast", groups=("gripper",))
    assert not model["material/gripper/hue"].prior.constant
    assert model["material/gripper/dirt"].prior.constant
    entry = catalogue.find("material/gripper/hue")
    assert entry is not None and entry.name == "material/hue"
    assert catalogue.find("joint/elbow") is None and catalogue.find("material/gripper/ghost") is None
    two = catalogue.find("light/2/azimuth")
    assert two is not None and two.name == "light/2/azimuth"


def test_groups_are_the_first_words_of_all_names() -> None:
    assert {e.name.split("/")[0] for e in catalogue.ENTRIES} | {"joint", "custom"} == set(catalogue.GROUPS)
    assert all(e.name in set(catalogue.trainer_variables()) for e in catalogue.ENTRIES if e.name.startswith("sensor/"))
