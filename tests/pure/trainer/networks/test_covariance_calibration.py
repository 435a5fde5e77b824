# SPDX-License-Identifier: GPL-3.0-or-later
"""Calibrated covariances and what a reliability plot shows of them, against scipy; how a model keeps them."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.trainer.evaluation import evaluate as evaluation, reliability
from robot_keypoints.trainer.evaluation.evaluate import EvaluationSet
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.maps import codec, soft_argmax
from robot_keypoints.trainer.networks import covariance_calibration, factory, model_file, two_passes
from robot_keypoints.trainer.networks.batchnorm_folding import fused
from robot_keypoints.trainer.networks.covariance_calibration import Calibration
from robot_keypoints.trainer.networks.device import Precision
from robot_keypoints.trainer.networks.model_file import ModelInfo
from scipy import stats
from torch import Tensor

NAMES = ("foot", "knee", "hand")
SMALL, WIDE = (32, 32), 6.0
"""So wide a target in so small an image that all of a map lies around its peak: claimed without having learned."""
CHI = stats.chi2(2)


def normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spreads(count: int, seed: int) -> Tensor:
    factor = torch.tril(0.5 * normal((count, 2, 2), seed)) + 2.5 * torch.eye(2, dtype=torch.float64)
    return factor @ factor.mT


def config(**changes: object) -> factory.NetworkConfig:
    whole = factory.NetworkConfig("light", 3, 1.5, width=8)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def test_calibrated_variances_follow_chi_square() -> None:
    """On predictions that the scales were not fitted to."""
    spread = spreads(4000 * 3, 9).reshape(4000, 3, 2, 2)
    wrong = torch.tensor([0.3, 1.0, 5.0], dtype=torch.float64)
    truth = 50 * normal((4000, 3, 2), 10)
    noise = (torch.linalg.cholesky(spread) @ normal((4000, 3, 2, 1), 11)).squeeze(-1)
    places, claimed = truth + noise, spread / wrong[:, None, None]
    half = slice(0, 2000)
    known = truth.clone()
    known[5] = math.nan
    errors = soft_argmax.squared_errors(places[half], claimed[half], known[half])
    fitted = Calibration((1.0,) * 3).learned(errors)
    assert (torch.tensor(fitted.scales) / wrong - 1).abs().max() < 0.1
    rest = slice(2000, None)
    before = soft_argmax.squared_errors(places[rest], claimed[rest], truth[rest]).numpy()
    after = soft_argmax.squared_errors(places[rest], fitted(claimed[rest]), truth[rest]).numpy()
    assert stats.kstest(after.flatten(), CHI.cdf).statistic < 0.03
    assert stats.kstest(before.flatten(), CHI.cdf).statistic > 0.1
    for errors, good in ((after, True), (before, False)):
        should, share = reliability.curve(errors)
        assert (np.abs(should - share).max() < 0.03) == good


def test_wild_errors_move_the_scale_little() -> None:
    """One keypoint in ten is taken for something else, far away."""
    errors = torch.from_numpy(CHI.rvs((2000, 1), random_state=np.random.default_rng(0)))
    errors[::10] = 1e5
    assert 0.9 < Calibration((1.0,)).learned(errors).scales[0] < 1.3


def test_a_keypoint_that_is_hardly_seen_has_the_scale_of_all() -> None:
    errors = torch.full((60, 3), math.nan, dtype=torch.float64)
    errors[:, 0] = 4 * covariance_calibration.MEDIAN
    errors[: covariance_calibration.LEAST_COUNT - 1, 1] = 1e3
    found = Calibration((1.0,) * 3).learned(errors)
    assert found.scales == pytest.approx((4.0, 4.0, 4.0)) and found.images == 60
    nothing = torch.full((4, 2), math.nan)
    assert Calibration((1.0, 2.0)).learned(nothing).scales == (1.0, 2.0)
    assert Calibration((1.0, 2.0)).learned(nothing[:0]).scales == (1.0, 2.0)


def test_the_targets_own_variance_comes_off_in_every_direction() -> None:
    """Against numpy's eigenvectors."""
    spread = spreads(500, 3).reshape(250, 2, 2, 2)
    own = 4.0
    found = Calibration((1.0, 0.5), own)(spread).numpy()
    values, vectors = np.linalg.eigh(spread.numpy())
    assert (values.min(-1) < own).any() and (values.max(-1) > own).any()
    less = np.maximum(values - own, covariance_calibration.LEAST_SHARE * own) * np.array([1.0, 0.5])[:, None]
    np.testing.assert_allclose(found, (vectors * less[..., None, :]) @ np.swapaxes(vectors, -1, -2), atol=1e-9)
    round_one = torch.eye(2, dtype=torch.float64).expand(1, 2, 2, 2) * 5
    np.testing.assert_allclose(Calibration((1.0, 2.0), own)(round_one)[0], [np.eye(2), 2 * np.eye(2)])


@pytest.mark.parametrize("loss", ["cross_entropy", "l2"])
def test_a_map_of_a_certain_place_is_as_wide_as_its_target(loss: str) -> None:
    """So that nothing but the least is left of it."""
    about = config(loss=loss, sigma=3.0)
    start = Calibration.start(about)
    stride, sigma = about.resolved().stride, about.sigma
    places = 24 + 40 * torch.rand(50, 3, 2, generator=torch.Generator().manual_seed(1))
    maps = codec.encode(places, 96, 96, stride, sigma, peak=loss == "l2")
    found = codec.decode(maps, stride, sigma, peak=loss == "l2").covariances
    assert float(found.diagonal(dim1=-2, dim2=-1).mean()) == pytest.approx(start.own, rel=0.02)
    left = start(found).diagonal(dim1=-2, dim2=-1)
    assert float(left.mean()) < 1.2 * covariance_calibration.LEAST_SHARE * start.own
    assert Calibration.start(config(loss="coordinates")).own == 0.0


def test_figures_are_those_of_scipy() -> None:
    errors = CHI.rvs((300, 3), random_state=np.random.default_rng(4)) * np.array([1.0, 4.0, 0.25])
    errors[3, 1] = np.nan
    document = reliability.Reliability(NAMES, errors).to_dict()
    for name, column in zip(NAMES, errors.T, strict=True):
        entry, known = document["per_keypoint"][name], column[~np.isnan(column)]
        assert entry["distance"] == pytest.approx(stats.kstest(known, CHI.cdf).statistic)
        assert entry["width"] == pytest.approx(math.sqrt(np.median(known) / CHI.ppf(0.5)))
        for percent, share in entry["within"].items():
            assert share == pytest.approx((known <= CHI.ppf(float(percent) / 100)).mean())
    assert document["errors"]["count"] == 899
    for percent, value in document["chi_square"]["quantiles"].items():
        assert value == pytest.approx(CHI.ppf(float(percent) / 100))
    should, share = reliability.curve(errors[:, 1])
    assert (should[0], share[0], should[-1], share[-1]) == (0, 0, 1, 1)
    assert share[50] == pytest.approx(np.nanmean(errors[:, 1] <= CHI.ppf(0.5)) * 300 / 299, abs=0.01)
    assert reliability.summary(np.full(4, np.nan))["errors"] is None
    json.dumps(document, allow_nan=False)


def test_only_known_keypoints_that_are_claimed_count() -> None:
    predicted, true = np.zeros((1, 4, 2)), np.ones((1, 4, 2))
    true[0, 1] = np.nan
    covariances = np.broadcast_to(np.diag([1.0, 0.25]), (1, 4, 2, 2)).copy()
    covariances[0, 3] = 0.0
    errors = reliability.normalised_errors(predicted, covariances, true, np.array([[0.5, 0.9, 0.49, 0.9]]))
    np.testing.assert_array_equal(errors, [[5.0, np.nan, np.nan, np.nan]])


def taught() -> tuple[factory.KeypointNetwork, EvaluationSet]:
    """A network that hasn't learned anything, and images whose keypoints are where it finds them, give or take."""
    torch.manual_seed(0)
    net = factory.build(config(sigma=WIDE)).eval()
    assert net.outside is not None
    torch.nn.init.constant_(net.outside.bias, -9.0)  # which claims all keypoints
    images = torch.randint(0, 256, (24, 3, SMALL[1], SMALL[0]), dtype=torch.uint8)
    found, _ = two_passes.find_keypoints(net, images.float() / 255, SMALL)
    assert (found.confidences > 0.5).all()
    true = found.positions.double() + normal((24, 3, 2), 2) * torch.tensor([0.1, 1.0, 4.0])[:, None]
    return net, EvaluationSet(images, true.numpy())


def test_what_is_learned_is_kept_by_the_file_and_used_in_prediction(tmp_path: Path) -> None:
    net, data = taught()
    plain = Precision(torch.device("cpu"), False, 0.0)
    learned = evaluation.learn_calibration(net, data, plain, 5)
    assert learned is not None and net.calibration is learned and learned.images == 24
    assert learned.own == pytest.approx(WIDE**2 + 16 / 6) and learned.scales[0] < learned.scales[1] < learned.scales[2]
    found = evaluation.evaluate(net, data, plain, 5)
    assert found is not None
    true = np.where(np.isnan(found.errors)[..., None], np.nan, data.keypoints)
    errors = reliability.normalised_errors(found.predicted, found.covariances, true, found.confidences)
    np.testing.assert_allclose(np.nanmedian(errors, 0), covariance_calibration.MEDIAN, rtol=0.2)

    info = ModelInfo(config(sigma=WIDE), *SMALL, NAMES, (), calibration=learned)
    path = tmp_path / "model.safetensors"
    model_file.save_model(path, net.state_dict(), info)
    again, loaded = model_file.load_model(path, torch.device("cpu"))
    assert loaded.calibration == learned and fused(again).calibration == learned
    pictures = list(data.images.permute(0, 2, 3, 1).numpy()[:4])
    answers = Predictor.load(path).predict(pictures)
    shown = np.array([[k.covariance for k in image] for image in answers])
    np.testing.assert_allclose(shown, found.covariances[:4], rtol=1e-3)
    model_file.save_model(path, net.state_dict(), dataclasses.replace(info, calibration=None))
    raw = np.array([[k.covariance for k in image] for image in Predictor.load(path).predict(pictures)])
    assert np.abs(raw / shown - 1).max() > 0.2
    np.testing.assert_allclose(learned(torch.from_numpy(raw)).numpy(), shown, rtol=1e-3, atol=1e-6)


def test_nothing_is_learned_of_nothing() -> None:
    net, data = taught()
    plain = Precision(torch.device("cpu"), False, 0.0)
    assert evaluation.learn_calibration(net, data, plain, 5, lambda: True) is None and net.calibration is None
    outside = EvaluationSet(data.images, np.full_like(data.keypoints, -50.0))
    assert evaluation.learn_calibration(net, outside, plain, 5) is None and net.calibration is None


def test_models_of_earlier_versions_load_and_broken_calibrations_do_not(tmp_path: Path) -> None:
    info = ModelInfo(config(), 64, 48, NAMES, (), calibration=Calibration((1.0, 2.0, 3.0), 2.0, 9))
    document = info.to_dict()
    assert ModelInfo.from_dict(json.loads(json.dumps(document))) == dataclasses.replace(info, network=info.network)
    old = {k: v for k, v in document.items() if k != "calibration"}
    assert ModelInfo.from_dict(old).calibration is None
    scales = ([1.0, 2.0], [1.0, -2.0, 1.0], [1.0, math.inf, 1.0])
    for wrong in ({"own": math.nan}, *({"scales": s} for s in scales)):
        broken = {**document, "calibration": {**document["calibration"], **wrong}}
        with pytest.raises(ValueError):
            ModelInfo.from_dict(broken)
    path = tmp_path / "model.safetensors"
    tensors = factory.build(config()).state_dict()
    bad = dataclasses.replace(info, calibration=Calibration((1.0,)))
    model_file.save_model(path, tensors, bad)
    with pytest.raises(UserError, match="not a model of Robot Keypoints"):
        model_file.load_model(path, torch.device("cpu"))
