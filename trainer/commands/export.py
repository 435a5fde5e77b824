# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints export``: the network as ONNX, for other runtimes.

- input ``images``: float32 ``(batch, 3, height, width)``, RGB in display sRGB from 0 to 1, any batch and any size; the
  normalisation is inside.
- output ``beliefs``: float32 ``(batch, keypoints, rows, columns)``, the belief maps; cell i of an axis has its centre
  at pixel ``stride * i + (stride - 1) / 2``.
- output ``confidence``: float32 ``(batch, keypoints)``, that a keypoint lies inside the image.

The model's own document (keypoints, skeleton, stride and so on) stands in the file's metadata under
``robot_keypoints``.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...core import files
from ...core.errors import UserError
from ...core.messages import model_document
from ..networks import model_file
from ..networks.factory import KeypointNetwork, Output, normalise
from ..networks.model_file import ModelInfo

OPSET = 18
OLDEST, NEWEST = 18, 21

TOLERANCE = 1e-4
"""How far the file's outputs may be from PyTorch's."""

TRIED = ((1, 1.0, 1.0), (3, 0.83, 1.37))
"""What the file is tried with: images at once, and height and width in those of the training."""


class Exported(nn.Module):
    """The network with its normalisation, and with maps and confidences for outputs."""

    def __init__(self, network: KeypointNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the exported network answers; see the module."""
        network = self.network
        height, width, multiple, stride = images.shape[-2], images.shape[-1], network.multiple, network.stride
        # As the network's own forward pads and crops, but without asking whether there is anything to pad, and without
        # dividing negative numbers, which ONNX rounds the other way.
        down, right = (multiple - height % multiple) % multiple, (multiple - width % multiple) % multiple
        output = network.compute(torch.nn.functional.pad(normalise(images), (0, right, 0, down)))
        rows, columns = (height + stride - 1) // stride, (width + stride - 1) // stride
        beliefs = network.beliefs(Output((output.logits[-1][..., :rows, :columns],), output.outside))
        return beliefs.maps, beliefs.confidence


def export(model: Path, onnx: Path, opset: int = OPSET) -> int:
    """Write the file once it agrees with PyTorch; else nothing is written.

    Raises:
        UserError: if the model or the file's place is of no use, or a library is missing.
    """
    if not OLDEST <= opset <= NEWEST:
        raise UserError(f"--opset is {opset}: it must be between {OLDEST} and {NEWEST}")
    if onnx.is_dir() or not onnx.absolute().parent.is_dir():
        raise UserError(f"No file can be written at {onnx}: choose another for --onnx")
    network, info = model_file.load_model(model, torch.device("cpu"))
    data = to_onnx(network, info, opset)
    difference = largest_difference(network, data, info)
    if difference is not None and not difference <= TOLERANCE:
        raise RuntimeError(f"the exported network differs from PyTorch's by {difference:.2g}")
    files.write_bytes(onnx, data)
    compared = "not compared with PyTorch, as onnxruntime is not installed"
    if difference is not None:
        tried = " and ".join(f"{n} of {w} × {h}" for n, h, w in _trials(info))
        compared = f"at most {difference:.1e} from PyTorch on images of noise ({tried} pixels)"
    print(f"{onnx}: ONNX opset {opset}, {len(data) / 1e6:.1f} MB, {compared}", file=sys.stderr)
    return 0


def to_onnx(network: KeypointNetwork, info: ModelInfo, opset: int = OPSET) -> bytes:
    """The network as an ONNX file.

    Raises:
        UserError: if a library is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch translates with it
    except ImportError as problem:
        raise UserError(f"ONNX needs a library ({problem}): run pip install onnx onnxruntime onnxscript") from problem
    dynamic = torch.export.Dim.DYNAMIC
    # A size that nothing fits, so that no special case is taken for the rule.
    images = torch.zeros(2, 3, info.height + 1, info.width + 5)
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Exported(plain).eval(), (images,), input_names=["images"], output_names=["beliefs", "confidence"],
            dynamic_shapes=({0: dynamic, 2: dynamic, 3: dynamic},), opset_version=opset, dynamo=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    document = program.model_proto
    found = next(o.version for o in document.opset_import if o.domain in ("", "ai.onnx"))
    if found != opset:
        raise UserError(f"This network can't be written with opset {opset}: use --opset {found}")
    onnx.helper.set_model_props(document, {model_document.KEY: json.dumps(info.to_dict(), allow_nan=False)})
    onnx.checker.check_model(document)
    return bytes(document.SerializeToString())


def largest_difference(network: KeypointNetwork, data: bytes, info: ModelInfo) -> float | None:
    """Between the outputs of PyTorch and of onnxruntime, on noise of several sizes; None without onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    largest = 0.0
    generator = torch.Generator().manual_seed(0)
    for count, height, width in _trials(info):
        images = torch.rand(count, 3, height, width, generator=generator)
        with torch.no_grad():
            beliefs = network.beliefs(network(normalise(images)))
        found = session.run(["beliefs", "confidence"], {"images": images.numpy()})
        for mine, theirs in zip((beliefs.maps, beliefs.confidence), found, strict=True):
            if tuple(mine.shape) != theirs.shape:
                raise RuntimeError(f"the exported network gives {theirs.shape} instead of {tuple(mine.shape)}")
            largest = max(largest, float(np.abs(mine.numpy() - theirs).max()))
    return largest


def _trials(info: ModelInfo) -> list[tuple[int, int, int]]:
    return [(n, round(info.height * down), round(info.width * across)) for n, down, across in TRIED]
