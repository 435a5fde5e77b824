# SPDX-License-Identifier: GPL-3.0-or-later
"""What earlier versions have written is read: settings, models, data sets, runs and messages (tests/data/before)."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from robot_keypoints.core.messages import model_document
from robot_keypoints.core.messages.envelope import parse
from robot_keypoints.core.messages.events import Posterior, decode_event
from robot_keypoints.core.messages.pose import PoseRequest
from robot_keypoints.core.messages.pose_publishing import PublishedPose
from robot_keypoints.core.messages.prediction import Prediction, Refusal, decode_answer
from robot_keypoints.core.messages.samples import SampleContract, decode_sample
from robot_keypoints.core.robot.robot import Robot
from robot_keypoints.core.scene import catalogue
from robot_keypoints.core.settings import completion, toml_file, validation
from robot_keypoints.core.settings.completion import load_robot
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.evaluation.sample_set import SampleSet
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.networks import device, factory, two_passes
from robot_keypoints.trainer.networks.model_file import load_model
from robot_keypoints.trainer.training import run_state, setup
from robot_keypoints.trainer.training.engine import Engine

BEFORE = Path(__file__).parents[1] / "data" / "before"
MESSAGES = BEFORE / "messages"
RUN = "0123456789abcdef"
SCHEMA = Path(__file__).parents[2] / "docs" / "published_pose.schema.json"

EXPECTED: dict[str, Any] = json.loads((BEFORE / "expected.json").read_text(encoding="utf-8"))
"""What the version that made the files said of them."""

NEWER_VARIABLES = {"material/parts", "objects/carried", "camera/metering", "sensor/read_noise", "sensor/sharpening"}
"""Which a run of before lacks: the preset has them neutral, as it was."""

NEW_NAMES = (("training", "hidden_weight", "occluded_weight"), ("training", "first_look", "coarse_scale"))
"""Settings that were called differently in those files."""


def message(name: str) -> bytes:
    return (MESSAGES / name).read_bytes()


# ------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize("name", ["arm.toml", "run/settings.toml", "panel/settings.toml"])
def test_settings_have_the_values_that_the_file_has(name: str) -> None:
    written = tomllib.loads((BEFORE / name).read_text(encoding="utf-8"))
    read = json.loads(json.dumps(dataclasses.asdict(toml_file.load(BEFORE / name))))
    assert written.pop("version", 1) == toml_file.VERSION
    for part, was, now in NEW_NAMES:
        if was in written.get(part, {}):
            written[part][now] = written[part].pop(was)
    if "path" in written["robot"]:  # which counts from the file's own folder
        written["robot"]["path"] = written["robot"]["path"] and str((BEFORE / name).parent / written["robot"]["path"])
    for part, values in written.items():
        if isinstance(values, dict):
            assert {k: read[part][k] for k in values} == values, part
        elif part == "variables":
            assert [{k: r[k] for k in w} for r, w in zip(read[part], values, strict=True)] == values
        else:
            assert read[part] == values, part


def test_settings_of_a_run_can_still_be_started() -> None:
    settings = toml_file.load(BEFORE / "run" / "settings.toml")
    validation.check(settings)
    completed = completion.complete(settings, load_robot(settings.robot))
    known = {v.name for v in settings.variables}
    added = {v.name for v in completed.variables} - known
    assert added == NEWER_VARIABLES, "a default would be added"
    assert all(v.low == v.high == catalogue.BY_NAME[v.name].neutral for v in completed.variables if v.name in added)
    as_before = tuple(v for v in completed.variables if v.name in known)
    assert dataclasses.replace(completed, variables=as_before) == settings


# ------------------------------------------------------------------------------------------- models and data sets


def test_a_model_finds_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """At the same places. Confidences were the belief that a keypoint is inside the image; now that is one factor, and
    what lies elsewhere in the belief map takes from it."""
    model, picture = BEFORE / "run" / "model.safetensors", BEFORE / "coco" / "images" / "000000.png"
    assert cli.main(["predict", str(model), str(picture), "--scales", "1", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["images"]
    network, info = load_model(model, torch.device("cpu"))
    pixels = torch.from_numpy(image_file.read(picture).pixels[..., :3].copy()).permute(2, 0, 1)[None].float() / 255
    answer, _ = two_passes.find_keypoints(network, pixels, (info.width, info.height))
    assert [k["name"] for k in found["keypoints"]] == list(info.keypoints) == list(EXPECTED["predict"])
    for k, inside, near in zip(found["keypoints"], answer.inside[0], answer.near[0], strict=True):
        u, v, confidence = EXPECTED["predict"][k["name"]]
        assert [k["u"], k["v"], float(inside)] == pytest.approx([u, v, confidence], rel=1e-3), k["name"]
        assert k["confidence"] == pytest.approx(confidence * float(near), rel=1e-3) and 0 < near < 1, k["name"]


def test_a_models_header_is_written_as_it_was_read() -> None:
    """Under the same names, so that earlier versions read models of this one."""
    path = BEFORE / "run" / "model.safetensors"
    size = int.from_bytes(path.read_bytes()[:8], "little")
    written = json.loads(json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"][model_document.KEY])
    document = load_model(path, torch.device("cpu"))[1].to_dict()
    assert {name: document["network"][name] for name in written["network"]} == written["network"]
    assert {name: document[name] for name in written} == {**written, "network": document["network"]}


@pytest.mark.parametrize("form", ["coco", "ndds"])
def test_a_data_set_gives_the_same_errors(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = BEFORE / "run" / "model.safetensors"
    assert cli.main(["evaluate", str(model), "--data", str(BEFORE / form), "--scales", "1", "--json"]) == 0
    percent = json.loads(capsys.readouterr().out)["percent"]
    assert {k: percent[k] for k in ("count", "mean")} == pytest.approx(EXPECTED["evaluate"][form], rel=1e-3)


# ---------------------------------------------------------------------------------------------------------- a run


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Its engine takes every tensor, its logs keep all lines, its held-out samples are read."""
    shutil.copytree(BEFORE / "run", tmp_path / "run")
    run = tmp_path / "run"
    settings = toml_file.load(run / "settings.toml")
    info = setup.model_info(settings, run)
    assert info.robot == load_model(run / "model.safetensors", torch.device("cpu"))[1].robot
    saved = run_state.find(run)
    assert saved is not None
    net, t = factory.build(info.network), settings.training
    precision = device.decide(net, t.precision, t.batch_size, *settings.input_size, run_state.known_precision(saved))
    engine = Engine(net, t, precision, None, [k.robot for k in settings.keypoints])
    before = {name: (run / name).read_bytes() for name in run_state.LOGS}
    state = run_state.restore(run, saved, engine)
    assert state.counters.step == 20 and state.version == 2
    assert {name: (run / name).read_bytes() for name in run_state.LOGS} == before
    assert all(torch.equal(engine.tensors[k], v) for k, v in saved.tensors.items())
    for name in ("validation", "test"):
        assert len(SampleSet.load(run / "checkpoints" / f"{name}.npz")) == 8


def test_a_runs_robot_is_read() -> None:
    robot = Robot.from_dict(json.loads((BEFORE / "run" / "robot.json").read_text(encoding="utf-8")))
    assert [j.name for j in robot.moving_joints] == [
        "shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------- messages


def test_a_workers_sample_is_decoded() -> None:
    model = toml_file.load(BEFORE / "run" / "settings.toml").scene_model()
    header = json.loads(message("sample.json"))
    contract = SampleContract.of(header["run"], 32, 32, 7, model, details=True, masks=True)
    sample = decode_sample([message(f"sample.{part}") for part in ("json", "image", "mask")], contract)
    assert sample.image.shape == (32, 32, 4) and sample.image.any()
    assert sample.mask is not None and 0 < sample.mask.max() <= len(sample.instances[0].frames)
    assert sample.keypoints.tolist() == header["keypoints"] and dict(sample.latents.values) == header["values"]


def test_a_trainers_news_are_decoded() -> None:
    settings = toml_file.load(BEFORE / "run" / "settings.toml")
    posterior = Posterior.decode(message("posterior.json"), RUN)
    assert posterior == Posterior(0, settings.scene_model().concentrations())
    for kind in ("state", "metrics", "progress"):
        plain = json.loads(message(f"event.{kind}.json"))
        assert decode_event(message(f"event.{kind}.json"), RUN) == (kind, plain["content"])


def test_requests_and_answers_are_decoded() -> None:
    request = parse(message("request.solved.json"), "predict")
    assert len(PoseRequest.from_dict(request["pose"]).joints) == 6
    answer = decode_answer(message("answer.solved.json"))
    assert isinstance(answer, Prediction) and answer.id == request["id"] and len(answer.keypoints) == 7
    assert answer.pose is not None and answer.pose.status == "solved" and answer.pose.base_in_camera is not None
    refused = decode_answer(message("answer.refused.json"))
    assert isinstance(refused, Refusal) and refused.reason == "the image has 0 × 0 pixels"


@pytest.mark.parametrize("status", ["solved", "unsolved"])
def test_published_poses_are_read_and_fit_their_schema(status: str) -> None:
    found = PublishedPose.decode(message(f"published.{status}.txt"))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).validate(dict(found.document))
    assert found.pose is not None and (found.pose.status == "solved") == (status == "solved")
    assert found.robot == "ur10" and len(found.keypoints) == 7 and (found.width, found.height) == (320, 240)
