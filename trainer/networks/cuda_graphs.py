# SPDX-License-Identifier: GPL-3.0-or-later
"""Work of a graphics card that is recorded once and then started as one CUDA graph: a small network's many kernels take
less time than it takes Python to start them one by one.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from .base import KeypointNetwork, Output

MOST_SHAPES = 8
"""Shapes of input whose graphs are kept; each keeps its memory."""

T = TypeVar("T")


class Replayed(Generic[T]):
    """Work on one tensor, without gradients, as a graph for each shape of it.

    The work must do the same for all tensors of a shape, and may not look at their values.
    """

    def __init__(self, work: Callable[[Tensor], T]) -> None:
        self._work = work
        self._graphs: OrderedDict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, Tensor, T]] = OrderedDict()

    def __call__(self, given: Tensor) -> T:
        """What the work gives, in memory of its own."""
        shape = tuple(given.shape)
        if shape not in self._graphs:
            if len(self._graphs) == MOST_SHAPES:
                self._graphs.popitem(last=False)
            self._graphs[shape] = self._recorded(given)
        self._graphs.move_to_end(shape)
        graph, place, result = self._graphs[shape]
        place.copy_(given)
        graph.replay()
        return _copied(result)  # type: ignore[no-any-return]

    def _recorded(self, given: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, T]:
        place = given.clone(memory_format=torch.preserve_format)
        side = torch.cuda.Stream(given.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(given.device))
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels and make their constants
                self._work(place)
        torch.cuda.current_stream(given.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others may use the card
            result = self._work(place)
        return graph, place, result


def _copied(value: Any) -> Any:
    """Tensors, in tuples and data classes or by themselves, in other memory."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, tuple):
        return tuple(_copied(v) for v in value)
    if is_dataclass(value):
        return type(value)(**{f.name: _copied(getattr(value, f.name)) for f in fields(value)})  # type: ignore[misc]
    return value


class _Flat(nn.Module):
    """A network whose output is a tuple of tensors, as recording wants it."""

    def __init__(self, network: KeypointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.network(images)
        return output.logits if output.outside is None else (*output.logits, output.outside)


class GraphedTraining:
    """A network's way forth and back in training, as two graphs for images of one shape.

    Images of other shapes, and all where recording fails, take the plain way.
    """

    def __init__(self, network: KeypointNetwork, shape: tuple[int, int, int, int], *, bfloat16: bool) -> None:
        """Record the network's computation for one shape of batch.

        Args:
            shape: of the images, ``(B, 3, H, W)``.
            bfloat16: whether the network computes under autocast to it.
        """
        self._network = network
        self._shape = shape
        self._graphed = self._recorded(bfloat16)

    def __call__(self, images: Tensor) -> Output:
        """What the network itself would answer."""
        if self._graphed is None or tuple(images.shape) != self._shape:
            plain: Output = self._network(images)
            return plain
        found = self._graphed(images)
        if self._network.outside is None:
            return Output(found, None)
        return Output(found[:-1], found[-1])

    def _recorded(self, bfloat16: bool) -> Callable[[Tensor], tuple[Tensor, ...]] | None:
        # Recording runs the network a few times; its normalisations are to learn nothing from that.
        before = {name: value.clone() for name, value in self._network.named_buffers()}
        device = next(self._network.parameters()).device
        images = torch.zeros(self._shape, device=device).contiguous(memory_format=torch.channels_last)
        graphed: Callable[[Tensor], tuple[Tensor, ...]]
        self._network.train()
        try:
            with torch.autocast("cuda", torch.bfloat16, enabled=bfloat16, cache_enabled=False):
                graphed = torch.cuda.make_graphed_callables(_Flat(self._network), (images,))  # type: ignore[assignment]
        except Exception as problem:  # drivers and libraries raise many kinds
            reason = " ".join(str(problem).split())[:120]
            print(f"training can't be recorded as a graph ({reason}); going on without", file=sys.stderr, flush=True)
            return None
        with torch.no_grad():
            for name, value in self._network.named_buffers():
                value.copy_(before[name])
        self._network.zero_grad(set_to_none=True)
        return graphed
