# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kalman filter and the Rauch–Tung–Striebel smoother of a linear problem with Gaussian noise; all in float64.

x₀ ~ N(mean, covariance); x' = F x + c + w, w ~ N(0, Q); y = H x + n, n ~ N(0, R).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

NEGLIGIBLE = 1e-13
"""Share of a correlation matrix's largest eigenvalue under which a direction counts as known exactly."""


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution: mean ``(n,)`` and covariance ``(n, n)``."""

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Transition:
    """From one step to the next: F ``(n, n)``, c ``(n,)`` and Q ``(n, n)``."""

    matrix: Tensor
    shift: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Reading:
    """What was measured: H ``(m, n)``, y ``(m,)`` and R ``(m, m)``."""

    matrix: Tensor
    value: Tensor
    noise: Tensor


def predict(state: Gaussian, transition: Transition) -> Gaussian:
    """The next state, before anything was measured there."""
    f = transition.matrix
    return Gaussian(f @ state.mean + transition.shift, symmetric(f @ state.covariance @ f.mT + transition.noise))


def innovation(state: Gaussian, reading: Reading) -> Gaussian:
    """What a measurement differs by from what is expected, and the covariance that this has."""
    h, p = reading.matrix, state.covariance
    return Gaussian(reading.value - h @ state.mean, symmetric(h @ p @ h.mT + reading.noise))


def update(state: Gaussian, reading: Reading) -> Gaussian:
    """The state after a measurement, its covariance in Joseph's form."""
    h, p = reading.matrix, state.covariance
    new = innovation(state, reading)
    gain = torch.linalg.solve(new.covariance, h @ p).mT
    rest = torch.eye(len(p), dtype=p.dtype) - gain @ h
    covariance = rest @ p @ rest.mT + gain @ reading.noise @ gain.mT
    return Gaussian(state.mean + gain @ new.mean, symmetric(covariance))


def squared_distance(difference: Gaussian) -> float:
    """The squared Mahalanobis distance of ``difference.mean`` from zero."""
    return float(difference.mean @ torch.linalg.solve(difference.covariance, difference.mean))


@dataclass(frozen=True)
class Filtered:
    """What a filter knows of each step: before and after what was measured there."""

    predicted: tuple[Gaussian, ...]
    updated: tuple[Gaussian, ...]


def run_filter(initial: Gaussian, transitions: Sequence[Transition], readings: Sequence[Sequence[Reading]]) -> Filtered:
    """Filter from the first step to the last.

    Args:
        initial: the state at the first step, before anything was measured.
        transitions: one less than there are steps.
        readings: at each step, none or several with independent noise.
    """
    predicted: list[Gaussian] = []
    updated: list[Gaussian] = []
    for k, measured in enumerate(readings):
        state = initial if k == 0 else predict(updated[-1], transitions[k - 1])
        predicted.append(state)
        for reading in measured:
            state = update(state, reading)
        updated.append(state)
    return Filtered(tuple(predicted), tuple(updated))


def run_smoother(filtered: Filtered, transitions: Sequence[Transition]) -> tuple[Gaussian, ...]:
    """What all measurements together say of each step [Rauch1965]."""
    smoothed = [filtered.updated[-1]]
    for k in range(len(transitions) - 1, -1, -1):
        here, ahead, later = filtered.updated[k], filtered.predicted[k + 1], smoothed[-1]
        gain = here.covariance @ transitions[k].matrix.mT @ inverse(ahead.covariance)
        mean = here.mean + gain @ (later.mean - ahead.mean)
        covariance = here.covariance + gain @ (later.covariance - ahead.covariance) @ gain.mT
        smoothed.append(Gaussian(mean, symmetric(covariance)))
    return tuple(reversed(smoothed))


def symmetric(matrix: Tensor) -> Tensor:
    """A covariance without the asymmetry that rounding leaves."""
    return (matrix + matrix.mT) / 2


def inverse(covariance: Tensor) -> Tensor:
    """The pseudo-inverse of a covariance whose units may differ by orders of magnitude."""
    scale = covariance.diagonal().clamp_min(0).sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    correlation = covariance / scale[:, None] / scale
    result: Tensor = torch.linalg.pinv(correlation, rtol=NEGLIGIBLE, hermitian=True) / scale[:, None] / scale
    return result


def block_diagonal(*blocks: Tensor) -> Tensor:
    """One matrix with ``blocks`` ``(n, n)`` on its diagonal."""
    result: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return result
