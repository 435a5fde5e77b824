# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses from markers and joint sensors that are off: against filterpy, gtsam, chi-square and the truth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import gtsam
import numpy as np
import pytest
import torch
from filterpy.kalman import KalmanFilter
from moving_robots import BASE, MOUNT, UR10, marker_covariance, perturbed, simulate, with_slack
from robot_keypoints.core.robot.robot import Joint, Robot
from robot_keypoints.core.robot.urdf_reader import load_urdf
from robot_keypoints.trainer.pose.kinematic_filter import (
    Estimate,
    MarkerPose,
    Recording,
    SensorModel,
    Sight,
    State,
    Step,
    backward,
    forward,
    initial_state,
    seen,
    smooth,
)
from robot_keypoints.trainer.pose.link_motion import LinkMotion
from robot_keypoints.trainer.pose.rigid_motion import adjoint, invert, log_motion
from scipy import stats
from torch import Tensor

WIDE = torch.full((6,), 0.02**2, dtype=torch.float64).diag()
"""Two centimetres and a degree: what a first guess is off by."""

MODEL = SensorModel.uniform(
    6, offset=math.radians(1), walk=math.radians(0.05), error=math.radians(0.2), memory=0.5,
    drift_turn=0.002, drift_shift=0.001,
)  # fmt: skip


def start(recording: Recording, seed: int | None = None) -> State:
    """What is known before the first step: base and mount, wrong by as much as said."""
    base, mount = BASE, MOUNT
    if seed is not None:
        noise = torch.randn(2, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.02
        base, mount = perturbed(base, noise[0]), perturbed(mount, noise[1])
    return initial_state(recording, base, WIDE, mount[None], WIDE)


def away(estimate: Estimate, truth: Tensor) -> Tensor:
    """How far objects are from where they are in truth ``(K,)``, metres."""
    return torch.stack([(s.object_pose[:3, 3] - t[:3, 3]).norm() for s, t in zip(estimate.states, truth, strict=True)])


def table() -> Robot:
    """Three slides at right angles."""
    axes = np.eye(3).tolist()
    links = ["base", "x", "y", "z"]
    joints = [
        Joint(f"slide_{b}", "prismatic", a, b, axis=tuple(axis), lower=-1, upper=1)
        for a, b, axis in zip(links[:-1], links[1:], axes, strict=True)
    ]
    return Robot("table", "base", tuple(joints))


def test_of_a_robot_that_only_slides_it_is_filterpys_filter() -> None:
    random = np.random.default_rng(4)
    kept = math.exp(-0.1 / 0.3)
    model = SensorModel.uniform(3, offset=0.02, walk=0.004, error=0.01, memory=0.3, drift_shift=0.005)
    noise = torch.tensor([1e-4] * 3 + [2e-6, 3e-6, 8e-6], dtype=torch.float64).diag()
    pose = torch.eye(4, dtype=torch.float64)
    steps, places = [], []
    for k in range(20):
        marker = pose.clone()
        marker[:3, 3] = torch.tensor(random.normal(size=3))
        places.append(marker[:3, 3].numpy())
        markers = (MarkerPose(marker, noise, Sight()),) if k % 3 else ()
        steps.append(Step(0.1 * k, torch.tensor(random.normal(size=3)) * 0.2, markers))
    recording = Recording(LinkMotion.of(table(), ["z"]), model, tuple(steps))
    spread = torch.tensor([0.0] * 3 + [0.04, 0.09, 0.01], dtype=torch.float64).diag()
    initial = initial_state(recording, pose, spread)

    judge = KalmanFilter(dim_x=9, dim_z=3)
    zero, one = np.zeros((3, 3)), np.eye(3)
    offset, error = 0.02**2 * one, 0.01**2 * one
    base = spread[3:, 3:].numpy()
    judge.P = np.block([[base + offset + error, offset, error], [offset, offset, zero], [error, zero, error]])
    judge.x = np.concatenate([steps[0].positions.numpy(), np.zeros(6)])
    judge.H = np.hstack([one, zero, zero])
    judge.R = noise[3:, 3:].numpy()
    judge.F = np.block([[one, zero, (kept - 1) * one], [zero, one, zero], [zero, zero, kept * one]])
    walk, renewed = 0.1 * 0.004**2 * one, 0.01**2 * (1 - kept**2) * one
    drift = 0.1 * 0.005**2 * one
    judge.Q = np.block([[walk + renewed + drift, walk, renewed], [walk, walk, zero], [renewed, zero, renewed]])
    means, spreads = [], []
    found = forward(recording, initial)
    select = [3, 4, 5, 6, 7, 8, 9, 10, 11]
    for k, state in enumerate(found.states):
        if k:
            moved = (steps[k].positions - steps[k - 1].positions).numpy()
            judge.predict(np.concatenate([moved, np.zeros(6)]), np.eye(9))
        if steps[k].markers:
            judge.update(places[k])
        means.append(judge.x.copy())
        spreads.append(judge.P.copy())
        mine = np.concatenate([state.object_pose[:3, 3], state.errors.flatten()])
        np.testing.assert_allclose(mine, judge.x, atol=1e-9)
        np.testing.assert_allclose(state.covariance[select][:, select], judge.P, atol=1e-9)
    shifts = np.zeros((20, 9))
    shifts[:, :3] = torch.stack([s.positions for s in steps]).numpy()
    x, p, _, _ = judge.rts_smoother(np.array(means) - shifts, np.array(spreads))
    for state, mean, covariance in zip(smooth(recording, initial).states, x + shifts, p, strict=True):
        mine = np.concatenate([state.object_pose[:3, 3], state.errors.flatten()])
        np.testing.assert_allclose(mine, mean, atol=1e-9)
        np.testing.assert_allclose(state.covariance[select][:, select], covariance, atol=1e-9)


def differences(residual: Callable[..., np.ndarray], values: list[gtsam.Pose3 | np.ndarray]) -> list[np.ndarray]:
    """The derivatives of a residual, by central differences."""
    result = []
    for i, value in enumerate(values):
        size = 6 if isinstance(value, gtsam.Pose3) else len(value)
        columns = []
        for step in np.eye(size) * 1e-5:
            sides = []
            for sign in (1, -1):
                moved = value.retract(sign * step) if isinstance(value, gtsam.Pose3) else value + sign * step
                sides.append(residual(*values[:i], moved, *values[i + 1 :]))
            columns.append((sides[0] - sides[1]) / 2e-5)
        result.append(np.stack(columns, -1))
    return result


def custom(noise: np.ndarray, keys: list[int], kinds: str, residual: Callable[..., np.ndarray]) -> gtsam.CustomFactor:
    """A factor with the derivatives that it has; ``kinds`` says which variables are poses and which are vectors."""

    def error(_: object, values: gtsam.Values, derivatives: list[np.ndarray] | None) -> np.ndarray:
        parts = [values.atPose3(k) if kind == "p" else values.atVector(k) for k, kind in zip(keys, kinds, strict=True)]
        if derivatives is not None:
            for i, d in enumerate(differences(residual, parts)):
                derivatives[i] = d
        return residual(*parts)

    return gtsam.CustomFactor(gtsam.noiseModel.Gaussian.Covariance(noise), keys, error)


def test_the_smoother_solves_gtsams_problem() -> None:
    model = SensorModel.uniform(6, offset=math.radians(1), drift_turn=0.004, drift_shift=0.002)
    recording = simulate(10, 2, model).recording
    initial = start(recording, 5)
    found = smooth(recording, initial)

    graph, guess = gtsam.NonlinearFactorGraph(), gtsam.Values()
    offset, mount = gtsam.symbol("b", 0), gtsam.symbol("m", 0)
    keys = [gtsam.symbol("x", k) for k in range(10)]
    # Ours has errors of the first pose, the mount and the offsets from the left, that depend on one another.
    prior = [gtsam.Pose3(initial.object_pose.numpy()), gtsam.Pose3(initial.fixed[0].numpy())]

    def known(x: gtsam.Pose3, m: gtsam.Pose3, b: np.ndarray) -> np.ndarray:
        return np.concatenate([*(gtsam.Pose3.Logmap(p * q.inverse()) for p, q in zip((x, m), prior, strict=True)), b])

    graph.add(custom(initial.covariance[:18, :18].numpy(), [keys[0], mount, offset], "ppv", known))
    drift = gtsam.noiseModel.Diagonal.Sigmas(np.array([0.004] * 3 + [0.002] * 3) * math.sqrt(0.1)).covariance()
    for k in range(1, 10):
        before, after = recording.steps[k - 1].positions, recording.steps[k].positions

        def moved(x: gtsam.Pose3, y: gtsam.Pose3, b: np.ndarray, p: Tensor = before, q: Tensor = after) -> np.ndarray:
            frames, _ = recording.motion(torch.stack([p, q]) + torch.tensor(b))
            step = gtsam.Pose3((invert(frames[0, 0]) @ frames[1, 0]).numpy())
            return np.asarray(gtsam.Pose3.Logmap((x * step).inverse() * y))

        graph.add(custom(drift, [keys[k - 1], keys[k], offset], "ppv", moved))
    for key, step in zip(keys, recording.steps, strict=True):
        for marker in step.markers:
            there = adjoint(invert(marker.pose))
            given = gtsam.Pose3(marker.pose.numpy())

            def shown(x: gtsam.Pose3, m: gtsam.Pose3, z: gtsam.Pose3 = given) -> np.ndarray:
                return np.asarray(gtsam.Pose3.Logmap(z.inverse() * x * m))

            graph.add(custom((there @ marker.covariance @ there.mT).numpy(), [key, mount], "pp", shown))
    for key, state in zip(keys, forward(recording, initial).states, strict=True):
        guess.insert(key, gtsam.Pose3(state.object_pose.numpy()))
    guess.insert(mount, prior[1])
    guess.insert(offset, np.zeros(6))
    settings = gtsam.LevenbergMarquardtParams()
    settings.setRelativeErrorTol(1e-15)
    settings.setAbsoluteErrorTol(1e-15)
    judge = gtsam.LevenbergMarquardtOptimizer(graph, guess, settings).optimize()
    for key, state in zip(keys, found.states, strict=True):
        np.testing.assert_allclose(state.object_pose, judge.atPose3(key).matrix(), atol=1e-6)
    np.testing.assert_allclose(found.states[-1].errors[0], judge.atVector(offset), atol=1e-6)
    marginals = gtsam.Marginals(graph, judge)
    for key, state in list(zip(keys, found.states, strict=True))[::4]:
        to_left = adjoint(state.object_pose).numpy()
        np.testing.assert_allclose(
            state.covariance[:6, :6], to_left @ marginals.marginalCovariance(key) @ to_left.T, rtol=1e-4, atol=1e-10
        )


def test_covariances_tell_the_truth() -> None:
    """Errors over their covariances follow chi-square: of the marker before it is looked at, the filter's and the
    smoother's pose in the middle of what is hidden, and all of the smoother's last state."""
    runs = 24
    before: list[float] = []
    at_once: list[float] = []
    from_all: list[float] = []
    whole: list[float] = []
    for seed in range(runs):
        simulated = simulate(12, seed, MODEL, runs=2)
        recording, middle = simulated.recording, 3
        assert not recording.steps[middle].markers
        initial = start(recording, 100 + seed)
        filtered, smoothed = forward(recording, initial), smooth(recording, initial)
        before += [d for distances in filtered.distances for d in distances]
        for estimate, into in ((filtered, at_once), (smoothed, from_all)):
            state = estimate.states[middle]
            error = log_motion(simulated.object_poses[middle] @ invert(state.object_pose))
            into.append(float(error @ torch.linalg.solve(state.covariance[:6, :6], error)))
        last = smoothed.states[-1]
        true = replace(last, object_pose=simulated.object_poses[-1], fixed=MOUNT[None], errors=simulated.errors[-1])
        error = last.difference(true)
        whole.append(float(error @ torch.linalg.solve(last.covariance, error)))
    for values, freedom in ((before, 6), (at_once, 6), (from_all, 6), (whole, 24)):
        low, high = stats.chi2.ppf([0.001, 0.999], freedom * len(values))
        assert low < sum(values) < high, (sum(values) / len(values), freedom)


def test_the_smoother_at_least_halves_what_sensors_are_off_by() -> None:
    """Three degrees of offset and slack, the marker hidden in half of the steps."""
    offsets = torch.tensor([1.5, -2.2, 2.5, -1.8, 2.0, -2.4], dtype=torch.float64).deg2rad()
    model = SensorModel.uniform(6, offset=math.radians(2), error=math.radians(0.5), memory=0.5)
    perfect = simulate(60, 6, SensorModel.uniform(6, offset=0.0), runs=3)
    simulated = with_slack(perfect, offsets, torch.full((6,), math.radians(0.5)).double())
    recording = replace(simulated.recording, model=model)
    hidden = torch.tensor([not s.markers for s in recording.steps])
    assert int(hidden.sum()) == 30
    sensors, _ = recording.motion(torch.stack([s.positions for s in recording.steps]))
    kinematics = ((BASE @ sensors[:, 0])[:, :3, 3] - simulated.object_poses[:, :3, 3]).norm(dim=-1)
    found = {
        "forward": forward(recording, start(recording, 1)),
        "backward": backward(recording, start(recording.backward(), 1)),
        "smoother": smooth(recording, start(recording, 1)),
    }
    errors = {name: float(away(e, simulated.object_poses)[hidden].mean()) for name, e in found.items()}
    assert errors["smoother"] < min(errors["forward"], errors["backward"])
    assert errors["smoother"] < float(kinematics[hidden].mean()) / 2
    assert max(errors.values()) < float(kinematics[hidden].mean())


def test_backward_is_forward_in_a_mirror() -> None:
    recording = simulate(10, 3, MODEL).recording
    mirrored = recording.backward()
    assert mirrored.backward() == recording
    initial = start(mirrored, 2)
    for mine, theirs in zip(
        backward(recording, initial).states, reversed(forward(mirrored, initial).states), strict=True
    ):
        assert torch.equal(mine.object_pose, theirs.object_pose)


def test_a_marker_that_contradicts_the_others_is_left_out() -> None:
    recording = replace(simulate(12, 8, MODEL, hidden=0.0).recording, limit=float(stats.chi2.ppf(0.9999, 6)))
    initial = start(recording, 1)
    wrong = replace(recording.steps[7].markers[0], pose=recording.steps[2].markers[0].pose)
    steps = list(recording.steps)
    steps[7] = replace(steps[7], markers=(wrong,))
    found = smooth(replace(recording, steps=tuple(steps)), initial)
    assert [all(a) for a in found.accepted] == [k != 7 for k in range(12)]
    steps[7] = replace(steps[7], markers=())
    without = smooth(replace(recording, steps=tuple(steps)), initial)
    assert torch.allclose(found.states[7].object_pose, without.states[7].object_pose, atol=1e-12)


def test_a_marker_that_is_left_out_counts_the_same_whatever_was_expected() -> None:
    """Else a model that is too sure of itself, and leaves most markers out, is more likely than the true one."""
    recording = replace(simulate(6, 8, MODEL, hidden=0.0).recording, limit=float(stats.chi2.ppf(0.9999, 6)))
    step = recording.steps[-1]
    far = torch.zeros(6, dtype=torch.float64)
    far[3] = 1.0
    off = replace(step, markers=(replace(step.markers[0], pose=perturbed(step.markers[0].pose, far)),))
    for model in (MODEL, SensorModel.uniform(6, offset=math.radians(0.3), error=math.radians(0.02))):
        wrong, without = (
            forward(r, start(r))
            for last in (off, replace(step, markers=()))
            for r in [replace(recording, model=model, steps=(*recording.steps[:-1], last))]
        )
        assert wrong.accepted[-1] == (False,)
        assert wrong.log_likelihood - without.log_likelihood == pytest.approx(-recording.limit / 2)


@pytest.mark.parametrize("model", [MODEL, SensorModel.uniform(6, offset=math.radians(1))], ids=["noise", "offset"])
def test_several_cameras_and_markers_on_several_links(model: SensorModel) -> None:
    """What is seen without noise leads to what is true, although first guesses are off by centimetres."""
    truth = simulate(24, 5, SensorModel.uniform(6, offset=0.0), hidden=0.0)
    robot = LinkMotion.of(load_urdf(UR10), ["ee_link", "forearm_link", ""])
    second = perturbed(torch.eye(4, dtype=torch.float64), torch.tensor([0.1, 0.4, 0.0, -0.8, 0.1, 0.2]).double())
    forearm = perturbed(MOUNT, torch.tensor([0.3, 0.0, 0.2, 0.1, 0.1, 0.0]).double())
    steps = []
    for k, step in enumerate(truth.recording.steps):
        frames = BASE @ robot(step.positions)[0]
        markers = []
        # The first camera sees the flange and the room, the second one the forearm and the flange.
        for link, camera, mount, pose in (
            (0, None, 1, frames[0] @ MOUNT), (2, None, None, frames[2]),
            (1, 0, 2, second @ frames[1] @ forearm), (0, 0, 1, second @ frames[0] @ MOUNT),
        ):  # fmt: skip
            if (k + link) % 2 or k % 5 == 0:
                markers.append(MarkerPose(pose, marker_covariance(pose, 0.01), Sight(link, None, mount, camera)))
        steps.append(replace(step, markers=tuple(markers)))
    recording = Recording(robot, model, tuple(steps))
    noise = torch.randn(4, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 0.02
    guesses = [perturbed(p, n) for p, n in zip((BASE, second, MOUNT, forearm), noise, strict=True)]
    initial = initial_state(recording, guesses[0], WIDE, torch.stack(guesses[1:]), torch.block_diag(WIDE, WIDE, WIDE))
    found = smooth(recording, initial)
    assert float(away(found, truth.object_poses).max()) < 2e-4
    # The last joint's offset and the mount's turn about the same axis can't be told apart.
    for mine, true in zip(found.states[0].fixed[[0, 2]], (second, forearm), strict=True):
        assert float(log_motion(mine @ invert(true)).abs().max()) < 2e-4


def test_a_camera_on_the_hand_sees_markers_in_the_room_and_on_another_link() -> None:
    """The base is the reference: where the markers are in the room comes out with the rest."""
    truth = simulate(24, 5, SensorModel.uniform(6, offset=0.0), hidden=0.0)
    robot = LinkMotion.of(load_urdf(UR10), ["ee_link", "forearm_link"])
    camera, room = invert(MOUNT), perturbed(BASE, torch.tensor([0.3, 0.1, 0.2, 0.5, 0.2, 0.4]).double())
    forearm = perturbed(MOUNT, torch.tensor([0.3, 0.0, 0.2, 0.1, 0.1, 0.0]).double())
    steps = []
    for k, step in enumerate(truth.recording.steps):
        frames, _ = robot(step.positions)
        eye = camera @ invert(frames[0])
        shown = [(eye @ room, Sight(None, 0, 1, 0)), (eye @ frames[1] @ forearm, Sight(1, 0, 2, 0))][: 1 + k % 2]
        markers = tuple(MarkerPose(pose, marker_covariance(pose, 0.01), sight) for pose, sight in shown)
        steps.append(replace(step, markers=markers))
    recording = Recording(robot, SensorModel.uniform(6, offset=math.radians(1)), tuple(steps))
    noise = torch.randn(3, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 0.02
    guesses = torch.stack([perturbed(p, n) for p, n in zip((camera, room, forearm), noise, strict=True)])
    still, spread = torch.eye(4, dtype=torch.float64), torch.block_diag(WIDE, WIDE, WIDE)
    found = smooth(recording, initial_state(recording, still, WIDE * 1e-8, guesses, spread))
    frames, _ = robot(truth.recording.steps[0].positions)
    there = invert(camera @ invert(frames[0]) @ room)
    (links,) = recording.links(found.states[:1], slice(1))
    mine, _ = seen(Sight(None, 0, 1, 0), found.states[0], links)
    assert float(log_motion(mine @ there).abs().max()) < 2e-4
    assert float(log_motion(found.states[0].fixed[2] @ invert(forearm)).abs().max()) < 2e-4
