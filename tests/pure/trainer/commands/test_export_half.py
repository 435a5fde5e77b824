# SPDX-License-Identifier: GPL-3.0-or-later
"""Models in half precision: half as large, the same answers, the same document; refused where that can't be."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from robot_keypoints.core.messages.model_document import read_header
from robot_keypoints.trainer.commands import export_half, main as cli
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo

CPU = torch.device("cpu")


def model(path: Path) -> Path:
    torch.manual_seed(1)
    info = ModelInfo(factory.NetworkConfig("light", 3, 1.5, width=8), 64, 48, ("a", "b", "c"), (), training={"step": 7})
    net = factory.build(info.network).train()
    for _ in range(3):
        net(torch.randn(4, 3, 64, 64))
    model_file.save_model(path, net.state_dict(), info)
    return path


def test_it_is_half_as_large_and_answers_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, half = model(tmp_path / "model.safetensors"), tmp_path / "half.safetensors"
    assert cli.main(["export", str(whole), "--half", str(half)]) == 0
    assert "MB instead of" in capsys.readouterr().err
    numbers = [sum(t.nbytes for t in safetensors.torch.load_file(p).values()) for p in (whole, half)]
    assert numbers[1] < 0.6 * numbers[0]
    assert read_header(half).document == read_header(whole).document and read_header(half).checksum is not None
    images = torch.rand(2, 3, 48, 64)
    with torch.no_grad():
        (a, _), (b, _) = model_file.load_model(whole, CPU), model_file.load_model(half, CPU)
        torch.testing.assert_close(a.beliefs(a(images)).maps, b.beliefs(b(images)).maps, atol=2e-3, rtol=0.0)


def test_once_more_changes_no_bit(tmp_path: Path) -> None:
    whole, half, again = (tmp_path / f"{name}.safetensors" for name in ("whole", "half", "again"))
    model(whole)
    assert cli.main(["export", str(whole), "--half", str(half)]) == 0
    assert cli.main(["export", str(half), "--half", str(again)]) == 0
    assert half.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    ("factor", "most_change", "target", "words"),
    [
        (1e8, 0.01, "half.safetensors", "too much for half precision"),
        (1.0, 0.0, "half.safetensors", "would change the answers"),
        (1.0, 0.01, "no/half.safetensors", "No file can be written at"),
        (1.0, 0.01, ".", "No file can be written at"),
    ],
)
def test_what_can_not_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    factor: float, most_change: float, target: str, words: str,
) -> None:  # fmt: skip
    file = model(tmp_path / "model.safetensors")
    _, info = model_file.load_model(file, CPU)
    weights = safetensors.torch.load_file(file)
    model_file.save_model(file, {k: v * factor if v.ndim == 4 else v for k, v in weights.items()}, info)
    monkeypatch.setattr(export_half, "MOST_CHANGE", most_change)
    before = sorted(tmp_path.iterdir())
    assert cli.main(["export", str(file), "--half", str(tmp_path / target)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words in line and sorted(tmp_path.iterdir()) == before


def test_one_of_two_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["export", "ur10"]) == 2 and "--onnx --half" in capsys.readouterr().err
    assert cli.main(["export", "ur10", "--onnx", "a", "--half", "b"]) == 2 and "not allowed" in capsys.readouterr().err
