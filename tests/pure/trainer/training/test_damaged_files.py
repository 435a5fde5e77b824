# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever has become of a run's files: it goes on, or one sentence says why not."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch
from full_disk import room
from robot_keypoints.core import files, run_folder
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings import toml_file
from robot_keypoints.trainer.evaluation.sample_set import SampleSet
from robot_keypoints.trainer.training import run_state, setup
from robot_keypoints.trainer.training.checkpoint import Checkpoint
from trainings import lines, train, trainer_of

LATEST = run_folder.checkpoint(Path())
FILES = (
    str(LATEST), "checkpoints/validation.npz", "checkpoints/test.npz", "settings.toml", "robot.json", "metrics.jsonl",
    "priors.jsonl",
)  # fmt: skip
STRANGE: tuple[Any, ...] = (None, -1, 2**70, "x", [], [3], {}, {"a": 1}, 0.5, True, 1e308)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run with a checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    settings = synthetic.settings(width=8, precision="float32", epochs=20, averaging=0.9)
    (folder / "logs").mkdir()
    toml_file.save(settings, folder / "settings.toml")
    robot = load_urdf(builtin_urdf())
    (folder / "robot.json").write_text(json.dumps(robot.to_dict()), encoding="utf-8")
    threads = torch.get_num_threads()
    trainer = trainer_of(folder, settings, resume=False, ahead=False)
    try:
        trainer.collect()
        train(trainer, 3)
        trainer.validate()
    finally:
        trainer.close()
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def resume(folder: Path) -> str:
    """Go on for a step and a validation; the sentence where that is refused."""
    try:
        trainer = trainer_of(folder, toml_file.load(folder / "settings.toml"), resume=True, ahead=False)
        try:
            train(trainer, 1)
            trainer._report()
            trainer.validate()
        finally:
            trainer.close()
    except UserError as problem:
        assert "\n" not in str(problem)
        return str(problem)
    return ""


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document's parts are, the tables and lists themselves included."""
    if path:
        yield path
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for number in range(min(2, len(value))):
            yield from leaves(value[number], (*path, number))


def changed(document: Any, path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    result = copy.deepcopy(document)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    change(holder, path[-1])
    return result


def mutations(document: Any) -> list[Any]:
    """The document with each of its parts left out, and with something strange in its place."""
    result = []
    for path in leaves(document):
        result.append(changed(document, path, lambda holder, key: holder.__delitem__(key)))
        result += [
            changed(document, path, lambda holder, key, value=value: holder.__setitem__(key, value))  # type: ignore[misc]
            for value in STRANGE
        ]
    return result


def test_the_run_itself_goes_on(folder: Path) -> None:
    assert resume(folder) == ""


def test_a_checkpoint_of_strange_values_is_a_sentence(
    whole: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their checksums are right: as somebody would make them, or an earlier version without checksums had them."""
    saved = Checkpoint.load(whole / LATEST)
    refused = 0
    accepted = []
    for state in mutations(saved.state):
        strange = Checkpoint(saved.tensors, state, saved.generators)
        monkeypatch.setattr(Checkpoint, "load", lambda _, strange=strange: strange)
        try:
            run_state.find(folder)
        except UserError as problem:
            assert "\n" not in str(problem) and "start a new run" in str(problem)
            refused += 1
        else:
            accepted.append(state)
    assert refused > 300
    monkeypatch.undo()
    rng = np.random.default_rng(1)
    for number in rng.permutation(len(accepted))[:8]:
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        Checkpoint(saved.tensors, accepted[number], saved.generators).save(folder / LATEST)
        resume(folder)


@pytest.mark.parametrize(
    "case",
    ["index", "negative index", "no index", "another moment", "shape", "negative", "one moment lost", "whole numbers",
     "weights lost", "weights' shape", "generator lost", "generator short", "generator nonsense"],
)  # fmt: skip
def test_a_checkpoint_of_strange_tensors_is_a_sentence(folder: Path, case: str) -> None:
    saved = Checkpoint.load(folder / LATEST)
    tensors, generators = saved.tensors, saved.generators
    moment = "optimiser.0.exp_avg_sq"
    weights = next(k for k in tensors if k.startswith("network.") and tensors[k].ndim > 1)
    if case == "generator lost":
        generators.clear()
    elif case == "generator short":
        generators["torch"] = generators["torch"][:100]
    elif case == "generator nonsense":
        generators["torch"] = torch.full_like(generators["torch"], 255)
    elif case == "weights lost":
        del tensors[weights]
    elif case == "weights' shape":
        tensors[weights] = tensors[weights][:1]
    elif case == "one moment lost":
        del tensors[moment]
    elif case == "shape":
        tensors[moment] = tensors[moment].reshape(-1)[:1]
    elif case == "negative":
        tensors[moment] = tensors[moment] - 1.0
    elif case == "whole numbers":
        tensors[moment] = tensors[moment].long()
    else:
        names = {"index": "optimiser.99999.step", "negative index": "optimiser.-1.step", "no index": "optimiser.x",
                 "another moment": "optimiser.0.evil"}  # fmt: skip
        tensors[names[case]] = torch.zeros(())
    Checkpoint(tensors, saved.state, generators).save(folder / LATEST)
    assert "does not fit the run's settings.toml" in resume(folder)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "zeros", "text", "folder"])
def test_a_damaged_file_is_a_sentence_or_does_no_harm(folder: Path, file: str, damage: str) -> None:
    path = folder / file
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(len(data))
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        for place in rng.integers(0, len(data), 20).tolist():
            data[place] ^= 1 << int(rng.integers(8))
    elif damage == "zeros":
        data[len(data) // 3 : 2 * len(data) // 3] = bytes(2 * len(data) // 3 - len(data) // 3)
    elif damage in ("empty", "text"):
        data = bytearray(b"" if damage == "empty" else b"hello, world\n")
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes(data)
    sentence = resume(folder)
    if file.endswith("safetensors"):
        assert str(path) in sentence, "a damaged checkpoint must be named"
    if not sentence:
        for name in run_state.LOGS:
            steps = [json.loads(line)["step"] for line in lines(folder / name)]
            assert steps == sorted(steps)


def test_a_line_that_was_begun_is_left_out_without_a_word(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "metrics.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + before[: len(before) // 2])
    settings = toml_file.load(folder / "settings.toml")
    trainer_of(folder, settings, resume=True, ahead=False).close()
    assert path.read_bytes() == before and "damaged" not in capfd.readouterr().err
    path.write_bytes(before + b"\xff\n" + before)
    trainer_of(folder, settings, resume=True, ahead=False).close()
    assert path.read_bytes() == before and "is damaged after 1 lines" in capfd.readouterr().err


@pytest.mark.parametrize("key", ["images", "keypoints", "visibility", "camera_matrices", "bases_in_camera", "bins"])
def test_samples_that_do_not_belong_together_are_a_sentence(folder: Path, key: str) -> None:
    path = folder / "checkpoints" / "validation.npz"
    with np.load(path) as data:
        arrays = dict(data)
    for strange in (arrays[key][1:], arrays[key].astype(np.float16), arrays[key][..., :1], np.zeros(3)):
        np.savez_compressed(path, **{**arrays, key: strange})
        with pytest.raises(UserError, match="can't be read as a set of samples"):
            SampleSet.load(path)


def test_samples_that_unpack_without_end_are_a_sentence(folder: Path) -> None:
    """A thousandth of what they become."""
    path = folder / "checkpoints" / "validation.npz"
    np.savez_compressed(path, images=np.zeros((2000, 480, 640), np.uint8))
    assert path.stat().st_size < 2_000_000
    assert "can't be read as a set of samples" in resume(folder)


def test_every_document_of_a_robot_is_read_or_refused(folder: Path) -> None:
    path = folder / "robot.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["joints"] = document["joints"][:3]
    for strange in mutations(document):
        path.write_text(json.dumps(strange), encoding="utf-8")
        try:
            setup.kinematics(folder)
        except UserError as problem:
            assert "\n" not in str(problem) and str(path) in str(problem)


@pytest.mark.parametrize("size", [100, 3_000, 60_000])
def test_a_full_disk_ends_the_training_in_a_sentence_and_leaves_the_last_good_state(folder: Path, size: int) -> None:
    """Whichever file is the first one that has no room: TensorBoard's, a line, the model, the checkpoint."""
    before = {f: (folder / f).read_bytes() for f in (*FILES, "model.safetensors")}
    trainer = trainer_of(folder, toml_file.load(folder / "settings.toml"), resume=True, ahead=False)
    try:
        train(trainer, 1)
        with room(size), pytest.raises((OSError, files.WriteError)) as problem:
            trainer.validate()
            trainer.validate()
    finally:
        trainer.close()
    assert "File too large" in str(problem.value)
    for name, data in before.items():
        found = (folder / name).read_bytes()
        assert found.startswith(data) if name in run_state.LOGS else found == data, name
        assert found.endswith(b"\n") or not name.endswith("jsonl")
    assert resume(folder) == ""
