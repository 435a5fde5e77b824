# SPDX-License-Identifier: GPL-3.0-or-later
"""What surrounds the recording of graphs; recording itself needs a graphics card (``benchmarks/gpu.py``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from robot_keypoints.trainer.networks import factory
from robot_keypoints.trainer.networks.cuda_graphs import GraphedTraining

SHAPE = (2, 3, 48, 64)


def trained(loss: str = "auto") -> factory.KeypointNetwork:
    torch.manual_seed(0)
    return factory.build(factory.NetworkConfig("light", 3, 1.0, width=8, loss=loss)).train()


@pytest.mark.parametrize("loss", ["cross_entropy", "l2"])
def test_a_recorded_network_says_what_the_network_says(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def record(module: torch.nn.Module, given: tuple[torch.Tensor]) -> Callable[[torch.Tensor], Any]:
        module(*given)  # as the real one does to warm up

        def replay(images: torch.Tensor) -> Any:
            calls.append(len(images))
            return module(images)

        return replay

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", record)
    net, other = trained(loss), trained(loss)
    graphed = GraphedTraining(net, SHAPE, bfloat16=False)
    for shape in (SHAPE, (1, 3, 48, 64)):
        images = torch.rand(shape)
        ours, plain = graphed(images), other(images)
        assert len(ours.logits) == len(plain.logits) and torch.equal(ours.logits[0], plain.logits[0])
        assert (ours.outside is None) == (plain.outside is None)
        if ours.outside is not None and plain.outside is not None:
            assert torch.equal(ours.outside, plain.outside)
    assert calls == [2]  # only images of the recorded shape
    # Recording left no trace in the normalisations.
    for (name, a), b in zip(net.named_buffers(), other.buffers(), strict=True):
        assert torch.equal(a, b), name


def test_where_recording_fails_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def unable(*_: object) -> None:
        raise RuntimeError("no room\nfor a graph")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", unable)
    net, images = trained(), torch.rand(SHAPE)
    graphed = GraphedTraining(net, SHAPE, bfloat16=False)
    assert torch.equal(graphed(images).logits[0], trained()(images).logits[0])
    said = capfd.readouterr().err.splitlines()
    assert said == ["training can't be recorded as a graph (no room for a graph); going on without"]
