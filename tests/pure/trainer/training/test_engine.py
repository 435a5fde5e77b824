# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of the optimiser: the settings are followed, and what goes wrong is said before anything is spoilt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.settings.schema import TrainingSettings
from robot_keypoints.trainer.networks import device, factory
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.training import divergence
from robot_keypoints.trainer.training.engine import Batch, Engine
from robot_keypoints.trainer.training.schedule import exhausted, learning_rate

CPU = torch.device("cpu")
PRECISION = Precision(CPU, False, 1e-4)
PLAIN = TrainingSettings(pretrained=False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Where others are busy, torch's threads wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def never() -> bool:
    return False


def batch(count: int = 4, weights: torch.Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(count, 3, synthetic.HEIGHT, synthetic.WIDTH, generator=generator)
    points = torch.rand(count, 3, 2, generator=generator) * torch.tensor([60.0, 44.0])
    return Batch(images.contiguous(memory_format=torch.channels_last), points, weights)


def engine(settings: TrainingSettings = PLAIN, precision: Precision = PRECISION) -> Engine:
    torch.manual_seed(1)
    net = factory.build(factory.NetworkConfig("light", 3, 1.0, width=8)).to(memory_format=torch.channels_last)
    made = Engine(net, settings, precision)
    made.begin()
    return made


def weights(net: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_the_learning_rate_rises_and_falls_as_the_settings_say() -> None:
    t = TrainingSettings(learning_rate=0.1, warm_up=10)
    assert learning_rate(t, 0, 0.0) == pytest.approx(0.01)
    assert learning_rate(t, 9, 0.0) == pytest.approx(0.1) == learning_rate(t, 500, 0.0)
    assert learning_rate(t, 500, 0.5) == pytest.approx(0.1 * (0.01 + 0.99 / 2))
    assert learning_rate(t, 500, 1.0) == pytest.approx(0.001) == learning_rate(t, 500, 1.2)
    constant = replace(t, schedule="constant")
    assert learning_rate(constant, 500, 1.0) == pytest.approx(0.1) and learning_rate(constant, 0, 1.0) < 0.02
    assert learning_rate(replace(t, warm_up=0), 0, 0.0) == pytest.approx(0.1)


def test_patience_ends_a_run_that_gets_no_better() -> None:
    assert not exhausted(TrainingSettings(), 10**6)
    patient = TrainingSettings(patience=3)
    assert [exhausted(patient, n) for n in (0, 2, 3, 4)] == [False, False, True, True]


def test_the_average_follows_the_weights_slowly_or_not_at_all() -> None:
    slow = engine(replace(PLAIN, averaging=0.9))
    before = weights(slow.average)
    for _ in range(40):
        slow.step(batch(), 0.01, 4, never)
    moved, lag = (weights(slow.network) - before).norm(), (weights(slow.network) - weights(slow.average)).norm()
    assert 0.01 * moved < lag < moved
    plain = engine(replace(PLAIN, averaging=0.0))
    plain.step(batch(), 0.01, 4, never)
    assert plain.average is plain.network
    assert not any(name.startswith("average.") for name in plain.tensors)


def test_long_gradients_are_cut_to_the_length_that_is_set() -> None:
    lengths = {}
    for limit in (0.0, 0.01):
        cut = engine(replace(PLAIN, largest_gradient=limit))
        found = cut.step(batch(), 1e-9, 4, never)
        assert found is not None
        left = torch.cat([p.grad.flatten() for p in cut.network.parameters() if p.grad is not None]).norm()
        lengths[limit] = (found.gradient, float(left))
    assert lengths[0.0][0] == pytest.approx(lengths[0.01][0]) and lengths[0.0][0] > 0.1
    assert lengths[0.0][1] == pytest.approx(lengths[0.0][0], rel=1e-4)
    assert lengths[0.01][1] == pytest.approx(0.01, rel=1e-3)


def test_a_hidden_keypoint_can_be_left_out_of_the_loss() -> None:
    def loss(given: torch.Tensor | None, away: float) -> float:
        found = engine()
        some = batch(weights=given)
        some.keypoints[:, 1] += away
        step = found.step(some, 1e-9, 4, never)
        assert step is not None
        return step.loss

    without = torch.ones(4, 3)
    without[:, 1] = 0.0
    assert loss(None, 0.0) != loss(None, 7.0)
    assert loss(without, 0.0) == loss(without, 7.0)


def test_a_slow_batch_is_computed_in_parts_and_can_be_broken_off() -> None:
    slow = engine(precision=Precision(CPU, False, 0.5))  # two images a second
    before = weights(slow.network)
    assert slow.step(batch(6), 0.01, 6, lambda: True) is None
    assert torch.equal(weights(slow.network), before) and slow.steps == 0
    found = slow.step(batch(6), 0.01, 6, never)
    assert found is not None and found.losses.shape == (6,) and found.stages.shape == (1,)
    assert found.loss == pytest.approx(float(found.stages.mean()))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_stops_before_the_weights_change(what: str) -> None:
    broken = engine()
    broken.step(batch(), 0.01, 4, never)
    kept = {k: v.clone() for k, v in broken.tensors.items() if "running" not in k and "num_batches" not in k}
    some = batch()
    if what == "loss":
        some.images[0, 0, 0, 0] = float("nan")
    else:
        next(broken.network.parameters()).register_hook(lambda g: g * float("inf"))
    with pytest.raises(UserError, match=r"no longer a number at step 1: lower training.learning_rate and resume"):
        broken.step(some, 0.01, 4, never)
    assert all(torch.equal(broken.tensors[k], v) for k, v in kept.items())


def test_a_loss_that_stays_far_above_its_mean_is_a_training_that_has_run_away() -> None:
    watch = divergence.Watch()
    for step in range(30):
        watch.check(1.0, 1.0, step)
    for step in range(divergence.STEPS - 1):  # a spell of bad luck that passes
        watch.check(9.0, 1.0, step)
    assert watch.doubtful
    watch.check(2.0, 1.0, 0)
    assert not watch.doubtful
    again = divergence.Watch()
    again.state = watch.state
    with pytest.raises(UserError, match=r"has risen from 1.* to 9 .*lower training.learning_rate") as caught:
        for step in range(divergence.STEPS):
            again.check(9.0, 1.0, step)
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_memory_is_a_sentence() -> None:
    large = engine()
    large._forward = lambda images: torch.empty(1 << 60)  # type: ignore[assignment, return-value]
    with pytest.raises(UserError, match=r"4 images at a time do not fit into memory: lower training.batch_size"):
        large.step(batch(), 0.01, 4, never)
    with pytest.raises(UserError, match="fit into memory"), device.enough_memory(3):
        np.empty(1 << 57, np.uint8)
    with pytest.raises(RuntimeError, match="another"), device.enough_memory(3):
        raise RuntimeError("another thing")


def test_a_network_that_cant_be_compiled_is_computed_without(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unable(module: object, *, dynamic: bool) -> object:
        def call(images: torch.Tensor) -> None:
            raise RuntimeError("there is no compiler\nhere")

        return call

    monkeypatch.setattr(torch, "compile", unable)
    plain = engine(replace(PLAIN, compile="off")).step(batch(), 0.01, 4, never)
    found = engine(replace(PLAIN, compile="on")).step(batch(), 0.01, 4, never)
    assert plain is not None and found is not None and found.loss == plain.loss
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1 and "can't be compiled here (there is no compiler here)" in said[0]


def test_the_precision_is_tried_once_and_then_kept() -> None:
    net = factory.build(factory.NetworkConfig("light", 3, 1.0, width=8))
    kept = {"device": "CPU", "bfloat16": True, "seconds_per_image": 123.0}
    assert device.decide(net, "auto", 8, 64, 48, kept) == Precision(CPU, True, 123.0)
    assert device.decide(net, "bfloat16", 8, 64, 48, kept).seconds_per_image == 123.0
    changed = device.decide(net, "float32", 8, 64, 48, kept)
    assert not changed.bfloat16 and changed.seconds_per_image < 60
    elsewhere = device.decide(net, "float32", 8, 64, 48, kept | {"device": "another", "bfloat16": False})
    assert elsewhere.seconds_per_image < 60 and math.isfinite(elsewhere.seconds_per_image)
