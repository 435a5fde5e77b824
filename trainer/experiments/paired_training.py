# SPDX-License-Identifier: GPL-3.0-or-later
"""One training of a pair on a pool, with feedback or without.

Two simulators fill each batch. The first draws from the initial priors; the second does so as well, or follows the
posteriors. Both trainings of a pair begin with the same weights and draw with the same random numbers, so up to the
first update of the priors they are equal, and what the first simulator draws is so to the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..evaluation.evaluate import EvaluationSet, evaluate
from ..images.procedural import mixed
from ..networks import factory
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork
from ..training.engine import Batch, Engine
from ..training.evidence import importance
from ..training.schedule import learning_rate
from .pool import Pool, effective_share
from .pool_compositor import PoolCompositor
from .prior_updates import Following, updates
from .settings import FeedbackExperiment

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STEPS_AT_ONCE = 8
"""Steps whose images are made together."""

TESTS_AT_ONCE = 256


@dataclass(frozen=True)
class Course:
    """What one training has measured.

    Attributes:
        images: trained on before each measurement, ``T`` numbers.
        mean, median, q95: of the errors on the test images, percent of the diagonal, likewise.
        effective_share: of the pool under the posteriors after each update of the priors.
        priors: of every variable that adapts, the last probabilities of its bins over the initial ones.
    """

    seed: int
    feedback: bool
    images: list[int]
    mean: list[float]
    median: list[float]
    q95: list[float]
    effective_share: list[float]
    priors: dict[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Course:
        """Inverse of :meth:`to_dict`.

        Raises:
            KeyError, TypeError, ValueError: if the document is not one.
        """
        numbers = {n: [float(x) for x in data[n]] for n in ("mean", "median", "q95", "effective_share")}
        priors = {str(name): [float(x) for x in row] for name, row in data["priors"].items()}
        return cls(
            int(data["seed"]), bool(data["feedback"]), [int(x) for x in data["images"]], **numbers, priors=priors
        )


class Simulators:
    """The two simulators of one training: which renderings each batch is made of.

    Attributes:
        effective_share: of the pool that the second one draws from.
    """

    def __init__(self, pool: Pool, experiment: FeedbackExperiment, seed: int) -> None:
        """Both draw from the initial priors at first."""
        self._uniform, self._following = (np.random.default_rng([seed, i]) for i in range(2))
        self._pool = pool
        self._initial = pool.draws(np.ones(len(pool)))
        self.follow(Following.of(pool, pool.initial))
        self._batch = experiment.batch
        self._second = experiment.following

    def follow(self, following: Following) -> None:
        """Have the second simulator draw so from now on."""
        self._drawn = self._pool.draws(following.ratios)
        self._weights = importance(self._pool.initial, following.model, self._pool.bins)
        self.effective_share = effective_share(following.ratios)

    def batches(self, steps: int) -> tuple[Integers, Floats]:
        """Indices of the pool ``(steps, B)``, and the weights of these draws: see :meth:`.PriorUpdates.see`."""
        first = self._initial(self._uniform.random((steps, self._batch - self._second)))
        second = self._drawn(self._following.random((steps, self._second)))
        weights = np.concatenate([np.ones(first.shape), self._weights[second]], 1)
        return np.concatenate([first, second], 1), weights


class PairedTraining:
    """Trains on a pool, one training after another."""

    def __init__(self, pool: Pool, experiment: FeedbackExperiment, device: torch.device) -> None:
        """Bring the pool to the device."""
        self._pool = pool
        self._experiment = experiment
        self._settings = experiment.training()
        # Each step is computed as a whole, however long it takes: nobody waits for an answer.
        self._precision = Precision(device, device.type == "cuda", 0.0)
        self._compositor = PoolCompositor(pool, device)
        self._tests = EvaluationSet(pool.tests.images.to(device), pool.tests.keypoints)

    def begin(self, seed: int) -> Engine:
        """A new network and its optimiser; equal for equal seeds."""
        torch.manual_seed(seed)
        width, height = self._pool.size
        sigma = self._settings.target_sigma / 100 * float(np.hypot(width, height))
        config = factory.NetworkConfig.of(self._settings, self._pool.keypoints.shape[1], sigma)
        network = factory.build(config).to(self._precision.device).to(memory_format=torch.channels_last)
        engine = Engine(network, self._settings, self._precision)
        engine.begin((self._experiment.batch, height, width))
        return engine

    def train(self, seed: int, *, feedback: bool) -> Course:
        """One training and its errors."""
        e, pool = self._experiment, self._pool
        engine, simulators = self.begin(seed), Simulators(pool, e, seed)
        rule = updates(pool, e, self._precision, self._losses) if feedback else None
        model, images = pool.initial, 0
        course = Course(seed, feedback, [], [], [], [], [], {})
        for number in range(e.measurements):
            chosen, weights = simulators.batches(e.steps)
            batches = self._batches(chosen, mixed(seed, number))
            for step, batch in enumerate(batches):
                rate = learning_rate(self._settings, engine.steps, 0.0)
                done = engine.step(batch, rate, len(batch), lambda: False)
                assert done is not None
                if rule is not None:
                    rule.see(chosen[step], done.losses, weights[step])
            images += chosen.size
            self._measure(engine, images, course)
            if rule is not None and number + 1 < e.measurements:
                following = rule.next(model, engine.average)
                simulators.follow(following)
                model = following.model
                course.effective_share.append(simulators.effective_share)
        for now, before in zip(model.variables, pool.initial.variables, strict=True):
            if feedback and before.adapt and not before.prior.constant:
                course.priors[now.name] = (now.prior.marginal / before.prior.marginal).round(4).tolist()
        return course

    def _batches(self, chosen: Integers, seed: int) -> Iterator[Batch]:
        for i in range(0, len(chosen), STEPS_AT_ONCE):
            some = chosen[i : i + STEPS_AT_ONCE]
            pictures, points = self._compositor(some.ravel(), mixed(seed, i))
            pictures = factory.normalise(pictures).contiguous(memory_format=torch.channels_last)
            size = some.shape[1]
            for images, keypoints in zip(torch.split(pictures, size), torch.split(points, size), strict=True):
                yield Batch(images, keypoints)

    def _losses(self, network: KeypointNetwork) -> Floats:
        """Of each of the pool's renderings, under backgrounds that are the same each time ``(N,)``."""
        network.eval()
        height, width = self._pool.images.shape[1:3]
        found = []
        for places in np.array_split(np.arange(len(self._pool)), -(-len(self._pool) // TESTS_AT_ONCE)):
            pictures, keypoints = self._compositor(places, int(places[0]))
            pictures = factory.normalise(pictures).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode(), self._precision.autocast():
                found.append(network.loss(network(pictures), keypoints, width, height).double().cpu().numpy())
        return np.concatenate(found)

    def _measure(self, engine: Engine, images: int, course: Course) -> None:
        result = evaluate(engine.average, self._tests, self._precision, TESTS_AT_ONCE)
        assert result is not None
        errors = result.errors[~np.isnan(result.errors)]
        course.images.append(images)
        course.mean.append(float(errors.mean()))
        course.median.append(float(np.median(errors)))
        course.q95.append(float(np.quantile(errors, 0.95)))
