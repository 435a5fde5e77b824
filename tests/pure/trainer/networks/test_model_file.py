# SPDX-License-Identifier: GPL-3.0-or-later
"""Models and checkpoints: what is saved comes back, and what is foreign is refused in a sentence."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import synthetic
import torch
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.messages import model_document
from robot_keypoints.trainer.evaluation.sample_set import SampleSet
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo
from robot_keypoints.trainer.training import checkpoint
from robot_keypoints.trainer.training.checkpoint import Checkpoint

CONFIG = factory.NetworkConfig("light", 3, 1.0, width=8)
INFO = ModelInfo(CONFIG, 64, 48, synthetic.NAMES, (("foot", "knee"),), None, {"step": 3})
CPU = torch.device("cpu")


def save(path: Path, info: ModelInfo = INFO) -> factory.KeypointNetwork:
    net = factory.build(CONFIG).eval()
    model_file.save_model(path, net.state_dict(), info)
    return net


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    net = save(path)
    again, info = model_file.load_model(path, CPU)
    assert info == INFO
    images = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        assert torch.allclose(net(images).logits[0], again(images).logits[0], atol=1e-4)


def write(path: Path, document: object) -> Path:
    tensors = factory.build(CONFIG).state_dict()
    path.write_bytes(safetensors.torch.save(tensors, {model_document.KEY: json.dumps(document)}))
    return path


CASES = ("absent", "text", "empty", "pickle", "other", "cut", "schema", "names", "weights", "nothing")


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_a_model_is_refused_in_one_sentence(tmp_path: Path, case: str) -> None:
    path = tmp_path / "model.safetensors"
    document = INFO.to_dict()
    touched = tmp_path / "touched"
    if case == "text":
        path.write_text("hello")
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "pickle":

        class Evil:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (touched,))

        path.write_bytes(pickle.dumps(Evil()))
    elif case == "other":
        path.write_bytes(safetensors.torch.save({"x": torch.zeros(2)}))
    elif case == "cut":
        save(path)
        path.write_bytes(path.read_bytes()[:-100])
    elif case == "schema":
        write(path, document | {"schema": 99})
    elif case == "names":
        write(path, document | {"keypoints": ["only", "two"]})
    elif case == "weights":
        write(path, document | {"network": {**document["network"], "width": 16}})
    elif case == "nothing":
        write(path, "nothing")
    with pytest.raises(UserError) as caught:
        model_file.load_model(path, CPU)
    text = str(caught.value)
    words = {"cut": "cut off", "schema": "newer form 99"}.get(case, "choose")
    assert "\n" not in text and str(path) in text and words in text
    assert not touched.exists()


def test_a_file_cut_anywhere_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save(path)
    data = path.read_bytes()
    for length in (1, 8, 9, 500, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        words = f"is cut off after {length:,} bytes: copy it again" if length > 8 else "is not a model"
        with pytest.raises(UserError, match=words):
            model_file.load_model(path, CPU)


@pytest.mark.parametrize(("schema", "words"), [(1, "older form 1 .*: train"), (3, "newer form 3 .*: update")])
def test_another_version_is_told_from_another_file(tmp_path: Path, schema: int, words: str) -> None:
    path = write(tmp_path / "model.safetensors", INFO.to_dict() | {"schema": schema})
    with pytest.raises(UserError, match=words):
        model_file.load_model(path, CPU)


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        model_file.load_model(tmp_path, CPU)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    net = factory.build(CONFIG)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    keypoints = torch.tensor([[[20.0, 30.0], [5.0, 3.0], [40.0, 10.0]]])

    def step(n: factory.KeypointNetwork, o: torch.optim.Optimizer) -> None:
        o.zero_grad()
        n.loss(n(torch.ones(1, 3, 48, 64)), keypoints, 64, 48).mean().backward()
        o.step()

    for _ in range(3):
        step(net, optimiser)
    generator = torch.Generator().manual_seed(5)
    torch.rand(7, generator=generator)
    tensors = {f"network.{k}": v for k, v in net.state_dict().items()}
    tensors |= {f"optimiser.{k}": v for k, v in checkpoint.flatten_optimiser(optimiser).items()}
    path = tmp_path / "latest.safetensors"
    Checkpoint(tensors, {"counters": {"step": 3}}, {"torch": generator.get_state()}).save(path)

    saved = Checkpoint.load(path)
    assert saved.state == {"counters": {"step": 3}}
    other = factory.build(CONFIG)
    other_optimiser = torch.optim.AdamW(other.parameters(), lr=1e-2)
    other.load_state_dict(checkpoint.part(saved.tensors, "network"))
    checkpoint.restore_optimiser(other_optimiser, checkpoint.part(saved.tensors, "optimiser"))
    step(net, optimiser)
    step(other, other_optimiser)
    for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    again = torch.Generator()
    again.set_state(saved.generators["torch"])
    assert torch.equal(torch.rand(4, generator=again), torch.rand(4, generator=generator))


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "latest.safetensors"
    with pytest.raises(UserError, match="no checkpoint"):
        Checkpoint.load(path)
    path.write_bytes(b"\0" * 50)
    with pytest.raises(UserError, match="can't be read"):
        Checkpoint.load(path)


def test_a_set_of_samples_comes_back_without_pickles(tmp_path: Path) -> None:
    model = synthetic.settings().scene_model()
    rng = np.random.default_rng(0)
    samples = SampleSet.of([synthetic.sample(model, rng) for _ in range(5)])
    path = tmp_path / "validation.npz"
    samples.save(path)
    again = SampleSet.load(path)
    assert np.array_equal(samples.images, again.images)
    assert np.array_equal(samples.keypoints, again.keypoints)
    assert samples.latents == again.latents
    np.savez(path, images=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="start a new run"):
        SampleSet.load(path)


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_told(tmp_path: Path, seed: int) -> None:
    """Wherever it is: in the numbers, in the document, in the header."""
    path = tmp_path / "model.safetensors"
    net = save(path)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    header = 8 + int.from_bytes(data[:8], "little")
    place = int(rng.integers(0, header) if seed % 2 else rng.integers(header, len(data)))
    data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    try:
        again, info = model_file.load_model(path, CPU)
    except UserError as problem:
        assert "\n" not in str(problem) and str(path) in str(problem)
        return
    # Blanks between the header's words, or between upper and lower case of an escape, say the same.
    assert place < header and info == INFO
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_models_of_earlier_versions_have_no_checksum_and_load(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", INFO.to_dict())
    assert model_file.load_model(path, CPU)[1] == INFO


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_neither_read_nor_written(tmp_path: Path, value: float) -> None:
    tensors = factory.build(CONFIG).state_dict()
    name = next(k for k, v in tensors.items() if v.is_floating_point())
    tensors[name].view(-1)[0] = value
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match="no longer made of numbers"):
        model_file.save_model(path, tensors, INFO)
    with pytest.raises(UserError, match="no longer made of numbers"):
        Checkpoint(tensors, {}, {}).save(path)
    assert not path.exists()
    path.write_bytes(safetensors.torch.save(tensors, {model_document.KEY: json.dumps(INFO.to_dict())}))
    with pytest.raises(UserError, match="is not made of numbers") as problem:
        model_file.load_model(path, CPU)
    assert name in str(problem.value)


def test_weights_that_are_large_are_numbers_all_the_same(tmp_path: Path) -> None:
    tensors = factory.build(CONFIG).state_dict()
    next(v for v in tensors.values() if v.is_floating_point() and v.numel() > 4).view(-1)[:4] = 3e38
    path = tmp_path / "model.safetensors"
    model_file.save_model(path, tensors, INFO)
    model_file.load_model(path, CPU)


GREEDY: dict[str, dict[str, object]] = {
    "stages": {"network": {"kind": "vgg", "stages": 64, "width": 1024}},
    "width": {"network": {"width": 1024}},
    "keypoints": {"network": {"keypoints": 4096}, "keypoints": [str(i) for i in range(4096)], "skeleton": []},
    "input": {"input": {"width": 8192, "height": 8192}},
    "not a number": {"first_look": float("nan")},
    "deep": {"training": {"a": "deep"}},
}


@pytest.mark.parametrize("case", [*GREEDY, "header", "tensor", "text"])
def test_a_header_that_asks_for_too_much_gets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """No network is built, but one without memory."""
    real = factory.build

    def build(config: factory.NetworkConfig) -> factory.KeypointNetwork:
        assert torch.get_default_device().type == "meta", "memory was taken before the file was looked at"
        return real(config)

    path = tmp_path / "model.safetensors"
    document = INFO.to_dict()
    for key, value in GREEDY.get(case, {}).items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    text = json.dumps(document)
    if case == "deep":
        text = text.replace('"deep"', "[" * 200_000 + "]" * 200_000)
    path.write_bytes(safetensors.torch.save(real(CONFIG).state_dict(), {model_document.KEY: text}))
    monkeypatch.setattr(factory, "build", build)
    if case == "header":
        path.write_bytes((50_000_000).to_bytes(8, "little") + b"{" + bytes(100))
    elif case == "tensor":
        head = {"__metadata__": {model_document.KEY: text},
                "a": {"dtype": "F32", "shape": [10**10], "data_offsets": [0, 4 * 10**10]}}  # fmt: skip
        data = json.dumps(head).encode()
        path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(100))
    elif case == "text":
        head = {
            "__metadata__": {model_document.KEY: text},
            "a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 0]},
        }
        data = json.dumps(head).encode()
        path.write_bytes(len(data).to_bytes(8, "little") + data)
    with pytest.raises(UserError) as problem:
        model_file.load_model(path, CPU)
    assert "\n" not in str(problem.value) and str(path) in str(problem.value)


def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="regular file"):
        model_file.load_model(tmp_path / "model.safetensors", CPU)
