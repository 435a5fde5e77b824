# SPDX-License-Identifier: GPL-3.0-or-later
"""ONNX: the same answers as PyTorch's, for any batch and size; nothing written where that can't be had."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages import model_document
from robot_keypoints.trainer.commands import export as export_command, main as cli
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.factory import normalise
from robot_keypoints.trainer.networks.model_file import ModelInfo

CPU = torch.device("cpu")


def model(path: Path, kind: str = "light") -> Path:
    """With statistics that differ from a new network's, so that a forgotten normalisation would be seen."""
    torch.manual_seed(1)
    info = ModelInfo(factory.NetworkConfig(kind, 3, 1.5, stages=2, width=8), 64, 48, ("a", "b", "c"), ())
    net = factory.build(info.network).train()
    for _ in range(3):
        net(torch.randn(4, 3, 64, 64))
    model_file.save_model(path, net.state_dict(), info)
    return path


@pytest.mark.parametrize("kind", ["light", "vgg"])
def test_it_answers_as_pytorch_for_any_batch_and_size(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, target = model(tmp_path / "model.safetensors", kind), tmp_path / "arm.onnx"
    assert cli.main(["export", str(file), "--onnx", str(target)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "opset 18" in captured.err and "from PyTorch" in captured.err
    document = onnx.load(target)
    assert [o.version for o in document.opset_import if o.domain == ""] == [export_command.OPSET]
    content = json.loads({p.key: p.value for p in document.metadata_props}[model_document.KEY])
    net, info = model_file.load_model(file, CPU)
    assert content == info.to_dict()
    session = onnxruntime.InferenceSession(target)
    for shape in ((1, 3, 48, 64), (5, 3, 33, 101), (2, 3, 130, 32)):
        images = torch.rand(shape)
        with torch.no_grad():
            beliefs = net.beliefs(net(normalise(images)))
        maps, confidence = session.run(["beliefs", "confidence"], {"images": images.numpy()})
        np.testing.assert_allclose(maps, beliefs.maps.numpy(), atol=1e-4)
        np.testing.assert_allclose(confidence, beliefs.confidence.numpy(), atol=1e-4)
        assert maps.shape == (shape[0], 3, -(-shape[2] // 4), -(-shape[3] // 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}/none", "--onnx", "{0}/a.onnx"], "no model file"),
        (["{0}/model.safetensors", "--onnx", "{0}/no/a.onnx"], "No file can be written at"),
        (["{0}/model.safetensors", "--onnx", "{0}"], "No file can be written at"),
        (["{0}/model.safetensors", "--onnx", "{0}/a.onnx", "--opset", "7"], "--opset is 7"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    model(tmp_path / "model.safetensors")
    (tmp_path / "a.onnx").write_bytes(b"old")
    assert cli.main(["export", *(a.format(tmp_path) for a in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line
    assert (tmp_path / "a.onnx").read_bytes() == b"old"


def test_nothing_is_written_that_differs_or_can_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, target = model(tmp_path / "model.safetensors"), tmp_path / "a.onnx"
    monkeypatch.setattr(export_command, "to_onnx", lambda *_: b"")
    monkeypatch.setattr(export_command, "largest_difference", lambda *_: float("nan"))
    with pytest.raises(RuntimeError, match="differs"):
        export_command.export(file, target)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="pip install onnx onnxruntime onnxscript"):
        export_command.export(file, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]
