# SPDX-License-Identifier: GPL-3.0-or-later
"""The linear filter and smoother, against filterpy and against one least-squares problem."""

from __future__ import annotations

import numpy as np
import torch
from filterpy.kalman import KalmanFilter
from robot_keypoints.trainer.pose.linear_kalman import (
    Gaussian,
    Reading,
    Transition,
    inverse,
    run_filter,
    run_smoother,
)
from torch import Tensor

STATES, STEPS = 5, 12


def covariance(random: np.random.Generator, size: int) -> Tensor:
    root = random.normal(size=(size, size))
    return torch.tensor(root @ root.T + 0.1 * np.eye(size))


def problem(seed: int) -> tuple[Gaussian, list[Transition], list[list[Reading]]]:
    """Random systems, two or three numbers measured at once; at some steps nothing, at some twice."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> Tensor:
        return torch.tensor(random.normal(size=shape))

    transitions = [
        Transition(normal(STATES, STATES) / 2, normal(STATES), covariance(random, STATES)) for _ in range(STEPS - 1)
    ]
    readings = [
        [
            Reading(normal(m, STATES), normal(m), covariance(random, m))
            for m in random.integers(2, 4, random.integers(3))
        ]
        for _ in range(STEPS)
    ]
    return Gaussian(normal(STATES), covariance(random, STATES)), transitions, readings


def test_filter_and_smoother_agree_with_filterpy() -> None:
    for seed in range(5):
        initial, transitions, readings = problem(seed)
        judge = KalmanFilter(dim_x=STATES, dim_z=2)
        judge.x, judge.P = initial.mean.numpy(), initial.covariance.numpy()
        means, spreads = [], []
        for k, measured in enumerate(readings):
            if k:
                t = transitions[k - 1]
                # Its control input is the shift.
                judge.predict(t.shift.numpy(), np.eye(STATES), t.matrix.numpy(), t.noise.numpy())
            for r in measured:
                judge.update(r.value.numpy(), r.noise.numpy(), r.matrix.numpy())
            means.append(judge.x.copy())
            spreads.append(judge.P.copy())
        filtered = run_filter(initial, transitions, readings)
        for mine, mean, spread in zip(filtered.updated, means, spreads, strict=True):
            np.testing.assert_allclose(mine.mean, mean, atol=1e-9)
            np.testing.assert_allclose(mine.covariance, spread, atol=1e-9)
        # Its smoother knows no control input: what that moves is a matter of the means only, and is taken off them.
        offsets = [torch.zeros(STATES, dtype=torch.float64)]
        for t in transitions:
            offsets.append(t.matrix @ offsets[-1] + t.shift)
        shifted = np.array(means) - torch.stack(offsets).numpy()
        matrices, noises = [np.array([getattr(t, n).numpy() for t in transitions]) for n in ("matrix", "noise")]
        last = np.zeros((1, STATES, STATES))
        x, p, _, _ = judge.rts_smoother(
            shifted, np.array(spreads), np.concatenate([last, matrices]), np.concatenate([last, noises])
        )
        for mine, mean, spread, offset in zip(run_smoother(filtered, transitions), x, p, offsets, strict=True):
            np.testing.assert_allclose(mine.mean, mean + offset.numpy(), atol=1e-9)
            np.testing.assert_allclose(mine.covariance, spread, atol=1e-9)


def test_the_smoother_solves_the_least_squares_problem_of_all_steps() -> None:
    initial, transitions, readings = problem(7)
    rows, values = [], []

    def add(noise: Tensor, value: Tensor, **blocks: Tensor) -> None:
        whiten = torch.linalg.inv(torch.linalg.cholesky(noise))
        row = torch.zeros(len(value), STEPS * STATES, dtype=torch.float64)
        for name, block in blocks.items():
            k = int(name[1:])
            row[:, k * STATES : (k + 1) * STATES] = whiten @ block
        rows.append(row)
        values.append(whiten @ value)

    identity = torch.eye(STATES, dtype=torch.float64)
    add(initial.covariance, initial.mean, _0=identity)
    for k, t in enumerate(transitions):
        add(t.noise, t.shift, **{f"_{k}": -t.matrix, f"_{k + 1}": identity})
    for k, measured in enumerate(readings):
        for r in measured:
            add(r.noise, r.value, **{f"_{k}": r.matrix})
    matrix = torch.cat(rows)
    covariances = torch.linalg.inv(matrix.mT @ matrix)
    means = covariances @ matrix.mT @ torch.cat(values)
    smoothed = run_smoother(run_filter(initial, transitions, readings), transitions)
    for k, mine in enumerate(smoothed):
        here = slice(k * STATES, (k + 1) * STATES)
        assert torch.allclose(mine.mean, means[here], atol=1e-9)
        assert torch.allclose(mine.covariance, covariances[here, here], atol=1e-9)


def test_what_is_known_exactly_stays_so_in_an_inverse() -> None:
    known = torch.tensor([4.0, 0.0, 1e-14], dtype=torch.float64).diag()
    assert torch.allclose(inverse(known).diagonal(), torch.tensor([0.25, 0.0, 1e14], dtype=torch.float64))
