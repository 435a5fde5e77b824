# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the journey, and hostile ones raise MessageError and nothing else."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from robot_keypoints.core.messages.envelope import MAX_HEADER, MessageError, encode_request, parse
from robot_keypoints.core.messages.events import Posterior, decode_event, encode_event
from robot_keypoints.core.messages.samples import Instance, Sample, SampleContract, decode_sample, encode_sample
from robot_keypoints.core.scene.pair import Pair
from robot_keypoints.core.scene.prior import Prior
from robot_keypoints.core.scene.scene_model import SceneModel, Variable

RUN = "run-1"
MODEL = SceneModel(
    (
        Variable("joint/a", Prior.symmetric(-math.pi, math.pi, 8, circular=True), "rad"),
        Variable("light/strength", Prior.symmetric(0.5, 4.0, 6)),
    )
)
CONTRACT = SampleContract.of(RUN, 12, 9, 3, MODEL)
HOSTILE: list[Any] = [
    None, True, False, -1, 0, 3, 1 << 60, -(1 << 70), 10**400, 0.5, -0.0, 1e308, 1e-320, "", "sample", "a" * 5000,
    "\ud800", "__import__('os').system('true')", [], [[]], [None], [1e308] * 3, {}, {"a": {}}, {"__class__": "x"},
    [[[[[[]]]]]],
]  # fmt: skip


def sample(seed: int = 0) -> Sample:
    rng = np.random.default_rng(seed)
    return Sample(
        image=rng.integers(0, 256, (9, 12, 4), dtype=np.uint8),
        keypoints=np.array([[1.25, 2.5], [math.nan, math.nan], [30.0, -4.0]]),
        depths=np.array([2.0, -1.0, 1.5]),
        visibility=np.array([2, 0, 0]),
        latents=MODEL.sample(rng),
        version=4,
        worker=1,
        sequence=17,
        camera_matrix=np.array([[100.0, 0, 5.5], [0, 100.0, 4.0], [0, 0, 1]]),
        base_in_camera=np.eye(4),
    )


FULL = replace(CONTRACT, details=True, masks=True)


def full_sample(seed: int = 0) -> Sample:
    """With two robots of two links each, and a mask."""
    rng = np.random.default_rng(seed)
    instances = tuple(
        Instance(name, rng.normal(size=(4, 4)), {"a": 0.5}, {k: rng.normal(size=(4, 4)) for k in ("base", "tip")}, box)
        for name, box in (("", (-0.5, 1.25, 11.5, 8.5)), ("second", None))
    )
    mask = rng.integers(0, 5, (9, 12)).astype(np.uint16)
    return replace(sample(seed), distortion=np.array([-0.1, 0.02, 0, 0.001, 0]), instances=instances, mask=mask)


def frames_of(s: Sample) -> list[bytes]:
    return [bytes(f) for f in encode_sample(s, RUN)]


def test_seconds_round_trip_and_may_be_missing() -> None:
    timed = replace(sample(), seconds={"draw": 0.0015, "render": 0.25, "wait": 0.0})
    assert decode_sample(frames_of(timed), CONTRACT).seconds == timed.seconds
    assert "seconds" not in json.loads(frames_of(sample())[0])  # as older workers send it
    assert decode_sample(frames_of(sample()), CONTRACT).seconds == {}


@pytest.mark.parametrize("value", [None, "1", True, -0.001, 1e9, [1.0], {}, 10**400])
def test_hostile_seconds_are_refused(value: Any) -> None:
    header, image = frames_of(sample())
    changed = {**json.loads(header), "seconds": {"render": value}}
    with pytest.raises(MessageError, match="render took"):
        decode_sample([json.dumps(changed).encode(), image], CONTRACT)


def test_seconds_of_unknown_parts_take_no_memory() -> None:
    header, image = frames_of(sample())
    changed = {**json.loads(header), "seconds": {"render": 1.0, **{f"part {i}": "x" for i in range(1000)}}}
    assert decode_sample([json.dumps(changed).encode(), image], CONTRACT).seconds == {"render": 1.0}
    with pytest.raises(MessageError, match="seconds"):
        decode_sample([json.dumps({**changed, "seconds": [1.0]}).encode(), image], CONTRACT)


def test_sample_round_trip() -> None:
    for seed in range(20):
        s = sample(seed)
        got = decode_sample(frames_of(s), CONTRACT)
        np.testing.assert_array_equal(got.image, s.image)
        np.testing.assert_allclose(got.keypoints, s.keypoints, atol=1e-5)
        for name in ("depths", "visibility", "camera_matrix", "base_in_camera"):
            np.testing.assert_array_equal(getattr(got, name), getattr(s, name))
        assert (got.latents, got.version, got.worker, got.sequence) == (s.latents, 4, 1, 17)


def test_sample_in_full_round_trip() -> None:
    sent = full_sample()
    got = decode_sample(frames_of(sent), FULL)
    np.testing.assert_array_equal(got.mask, sent.mask)
    np.testing.assert_array_equal(got.distortion, sent.distortion)
    assert len(got.instances) == 2
    for mine, theirs in zip(sent.instances, got.instances, strict=True):
        assert (mine.name, mine.joints, mine.box) == (theirs.name, theirs.joints, theirs.box)
        np.testing.assert_array_equal(mine.base_in_camera, theirs.base_in_camera)
        # Their order says what the numbers in the mask mean.
        assert list(mine.frames) == list(theirs.frames)
        for link, frame in mine.frames.items():
            np.testing.assert_array_equal(frame, theirs.frames[link])


def test_a_run_gets_what_it_asked_for() -> None:
    plain, full = frames_of(sample()), frames_of(full_sample())
    for frames, contract in ((plain, FULL), (full, CONTRACT), (full[:2], FULL), ([*plain, full[2]], FULL)):
        with pytest.raises(MessageError):
            decode_sample(frames, contract)
    assert SampleContract.of(RUN, 12, 9, 3, MODEL, details=True, masks=True) == FULL
    assert decode_sample(full[:2], replace(FULL, masks=False)).mask is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"box": [-0.5, 1, 12, 8]}, "a box is"),
        ({"box": [3, 1, 2, 8]}, "a box is"),
        ({"box": [1, 2, 3]}, "shape"),
        ({"name": "second"}, "two instances are called 'second'"),
        ({"name": 3}, "no name"),
        ({"joints": {"a": None}}, "no finite position"),
        ({"frames": {"base": [[1.0]]}}, "shape"),
        ({"frames": {}}, "the mask names link 4"),
        ({"base_in_camera": None}, "shape"),
    ],
)
def test_instances_that_break_the_contract(changes: dict[str, Any], words: str) -> None:
    header, image, mask = frames_of(full_sample())
    document = json.loads(header)
    document["instances"][0] |= changes
    with pytest.raises(MessageError, match=words):
        decode_sample([json.dumps(document).encode(), image, mask], FULL)


def test_masks_of_another_size() -> None:
    header, image, mask = frames_of(full_sample())
    for wrong in (b"", mask[:-2], mask + b"xx"):
        with pytest.raises(MessageError, match="the mask has"):
            decode_sample([header, image, wrong], FULL)


def test_the_image_is_not_copied_on_the_way_out() -> None:
    s = sample()
    frame = encode_sample(s, RUN)[1]
    assert np.shares_memory(np.frombuffer(frame, np.uint8), s.image)


def test_posterior_round_trip() -> None:
    sent = Posterior(3, {"joint/a": (1.0, 2.5), "light/strength": (0.1,)}, {"joint/a": 0.12})
    assert Posterior.decode(sent.encode(RUN), RUN) == sent


def test_posterior_of_pairs() -> None:
    sent = Posterior(3, {"joint/a": (1.0, 2.5)}, pairs=(Pair("joint/a", "joint/b", ((0.5, 1.5), (1.5, 0.5))),))
    assert Posterior.decode(sent.encode(RUN), RUN) == sent
    message = json.loads(sent.encode(RUN))
    before = {k: v for k, v in message.items() if k != "pairs"}
    assert Posterior.decode(json.dumps(before).encode(), RUN).pairs == ()
    for pairs in (None, {}, [[]], message["pairs"] * 9, [{"variables": ["joint/a", "joint/b"], "ratios": [[-1.0]]}]):
        with pytest.raises(MessageError, match=r"pair|ratios"):
            Posterior.decode(json.dumps(message | {"pairs": pairs}).encode(), RUN)


def test_event_round_trip() -> None:
    content = {"step": 3, "workers": {"0": 1.5}, "message": "größer"}
    assert decode_event(encode_event(RUN, ("progress", content)), RUN) == ("progress", content)
    with pytest.raises(ValueError, match=r"JSON compliant|not allowed|Out of range"):
        encode_event(RUN, ("progress", {"loss": math.nan}))


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "3"}, {"loss": [1.0]}, {"fraction": None}, {"seconds_left": True}, {"dropped": 10**400},
        {"workers": [1.0]}, {"workers": {"0": "fast"}}, {"error_percent": {}},
    ],
)  # fmt: skip
def test_progress_that_can_not_be_shown(changes: dict[str, Any]) -> None:
    content = {"step": 3, "error_percent": None, "median_error_percent": None, "device": "CPU", "workers": {"0": 1.5}}
    assert decode_event(encode_event(RUN, ("progress", content)), RUN) == ("progress", content)
    with pytest.raises(MessageError, match=r"progress|rates"):
        decode_event(encode_event(RUN, ("progress", {**content, **changes})), RUN)


METRICS = {
    "step": 3, "images": 48, "seconds": 2.5, "loss": 0.25, "mean_error_percent": 2.5, "median_error_percent": 1.5,
    "per_keypoint": {"foot": {"mean": 2.5, "median": 1.5}}, "pck": {"1": 0.5},
    "hardest": [{"variable": "light/world", "low": 1.0, "high": 2.0, "share": 0.5}],
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"step": -1}, {"images": 1.5}, {"seconds": "long"}, {"loss": None}, {"mean_error_percent": None},
        {"median_error_percent": True}, {"per_keypoint": []}, {"per_keypoint": {"foot": 1.0}},
        {"per_keypoint": {"foot": {"mean": "far"}}}, {"pck": 1.0}, {"pck": {"1": None}}, {"hardest": {}},
        {"hardest": [3]}, {"hardest": [{"variable": "light/world", "low": 1.0, "high": 2.0}]},
        {"hardest": [{"variable": 1, "low": 1.0, "high": 2.0, "share": 0.5}]},
    ],
)  # fmt: skip
def test_metrics_that_can_not_be_shown(changes: dict[str, Any]) -> None:
    assert decode_event(encode_event(RUN, ("metrics", METRICS)), RUN) == ("metrics", METRICS)
    with pytest.raises(MessageError):
        decode_event(encode_event(RUN, ("metrics", {**METRICS, **changes})), RUN)


def test_what_a_later_version_tells_besides_is_let_through() -> None:
    told = {**METRICS, "weather": "fair"}
    assert decode_event(encode_event(RUN, ("metrics", told)), RUN) == ("metrics", told)


@pytest.mark.parametrize(
    "kind, content",
    [
        ("state", {"phase": "training"}), ("state", {"message": "so"}), ("state", {"phase": 3, "message": "so"}),
        ("state", {"phase": "training", "message": {}}), ("posterior", {"version": 1}), ("news", {}), (None, {}),
        (["state"], {"phase": "training", "message": "so"}),
    ],
)  # fmt: skip
def test_states_that_are_none_and_events_that_nobody_sends(kind: Any, content: dict[str, Any]) -> None:
    with pytest.raises(MessageError):
        decode_event(encode_event(RUN, (kind, content)), RUN)


def test_of_another_run_schema_or_type() -> None:
    frames = frames_of(sample())
    other = SampleContract.of("run-2", 12, 9, 3, MODEL)
    with pytest.raises(MessageError, match="another run"):
        decode_sample(frames, other)
    with pytest.raises(MessageError, match="another run"):
        Posterior.decode(Posterior(1).encode("run-2"), RUN)
    with pytest.raises(MessageError, match="another run"):
        decode_event(encode_event("run-2", ("state", {"phase": "training", "message": ""})), RUN)
    header = json.loads(frames[0])
    with pytest.raises(MessageError, match="schema 2"):
        decode_sample([json.dumps(header | {"schema": 2}).encode(), frames[1]], CONTRACT)
    with pytest.raises(MessageError, match="type 'posterior'"):
        decode_sample([json.dumps(header | {"type": "posterior"}).encode(), frames[1]], CONTRACT)
    assert parse(encode_request("hello", run=RUN))["type"] == "hello"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"width": 9, "height": 12}, "9 × 12"),
        ({"keypoints": [[1, 1], [1, 1]]}, "shape"),
        ({"keypoints": [[1, 1], [None, None], [1, 1, 1]]}, "shape"),
        ({"visibility": [2, 2, 0]}, "no position"),
        ({"visibility": [2, 0, 1]}, "no position"),
        ({"visibility": [2, 0, 3]}, "not 0, 1 or 2"),
        ({"visibility": [2, 0, 0.5]}, "not 0, 1 or 2"),
        ({"depths": [1, None, 1]}, "depths holds None"),
        ({"bins": {}}, "not those of this run"),
        ({"bins": {"joint/a": 8, "light/strength": 0}}, "no bin 8"),
        ({"bins": {"joint/a": -1, "light/strength": 0}}, "no bin -1"),
        ({"bins": {"joint/a": 1.0, "light/strength": 0}}, "no bin 1.0"),
        ({"bins": {"joint/a": True, "light/strength": 0}}, "no bin True"),
        ({"values": {"joint/a": 0.0, "light/strength": 4.5}}, "outside 0.5 … 4.0"),
        ({"values": {"joint/a": 7.0, "light/strength": 1.0}}, "outside"),
        ({"values": {"joint/a": "0", "light/strength": 1.0}}, "the value '0'"),
        ({"values": {"joint/a": 10**400, "light/strength": 1.0}}, "the value"),
        ({"values": [1, 2]}, "not tables"),
        ({"version": -1}, "version is -1"),
        ({"worker": True}, "worker is True"),
        ({"sequence": 1 << 60}, "sequence is"),
        ({"camera_matrix": [[1, 2], [3, 4]]}, "shape"),
        ({"base_in_camera": None}, "shape"),
    ],
)
def test_samples_that_break_the_contract(changes: dict[str, Any], words: str) -> None:
    header, image = frames_of(sample())
    with pytest.raises(MessageError, match=words):
        decode_sample([json.dumps(json.loads(header) | changes).encode(), image], CONTRACT)


def test_wrong_frames() -> None:
    header, image = frames_of(sample())
    for frames in ([], [header], [image, header], [header, image, b""], [header, image[:-1]], [header, image + b"x"]):
        with pytest.raises(MessageError):
            decode_sample(frames, CONTRACT)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"\xff\xfe", b"null", b"3", b'"schema"', b"[]", b"{}", b'{"schema":1}', b'{"schema":1,"type":3}',
        b'{"schema":NaN,"type":"sample"}', b'{"schema":1,"type":"sample","run":"run-1","width":Infinity}',
        b"[" * 200_000, b'{"a":' * 100_000, b"9" * 10_000, b" " * (MAX_HEADER + 1),
        pickle.dumps({"schema": 1, "type": "sample"}), "{\"schema\":1}".encode("utf-16"),
    ],
)  # fmt: skip
def test_headers_that_are_none(data: bytes) -> None:
    for attempt in (
        lambda: parse(data, "sample"),
        lambda: decode_sample([data, b"x" * 432], CONTRACT),
        lambda: Posterior.decode(data, RUN),
        lambda: decode_event(data, RUN),
    ):
        with pytest.raises(MessageError):
            attempt()


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """Flipped, cut, doubled or replaced bytes."""
    b = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, len(b))) if b else 0
        what = rng.integers(0, 5)
        if what == 0 and b:
            b[at] = int(rng.integers(0, 256))
        elif what == 1:
            del b[at : at + int(rng.integers(1, 20))]
        elif what == 2:
            b[at:at] = rng.bytes(int(rng.integers(1, 10)))
        elif what == 3:
            b[at:at] = b[at : at + int(rng.integers(1, 60))]
        else:
            b[at:at] = bytes(rng.choice([b"{", b"[", b'"', b"}", b"]", b",", b"1e999", b"null", b"-", b"\\ud800"]))
    return bytes(b)


def poisoned(rng: np.random.Generator, document: Any) -> Any:
    """A JSON document with one entry somewhere replaced by something hostile, removed or added."""
    if isinstance(document, dict) and document and rng.random() < 0.8:
        key = str(rng.choice(list(document)))
        copy = dict(document)
        what = rng.random()
        if what < 0.1:
            del copy[key]
        elif what < 0.2:
            copy[str(rng.choice(["run", "x", "__proto__", ""]))] = HOSTILE[int(rng.integers(len(HOSTILE)))]
        else:
            copy[key] = poisoned(rng, document[key])
        return copy
    if isinstance(document, list) and document and rng.random() < 0.8:
        copy_list = list(document)
        at = int(rng.integers(len(copy_list)))
        copy_list[at] = poisoned(rng, copy_list[at])
        return copy_list
    return HOSTILE[int(rng.integers(len(HOSTILE)))]


def assert_sound(s: Sample) -> None:
    """Whatever was let in keeps the contract."""
    assert s.image.shape == (9, 12, 4) and s.image.dtype == np.uint8
    assert s.keypoints.shape == (3, 2) and s.depths.shape == (3,) and np.isfinite(s.depths).all()
    assert set(s.visibility.tolist()) <= {0, 1, 2}
    assert np.isfinite(s.keypoints[s.visibility > 0]).all()
    assert np.isfinite(s.camera_matrix).all() and np.isfinite(s.base_in_camera).all()
    for variable in MODEL.variables:
        assert 0 <= s.latents.bins[variable.name] < variable.prior.bins
        assert variable.prior.bin_of([s.latents.values[variable.name]])[0] >= 0
    assert min(s.version, s.worker, s.sequence) >= 0


@pytest.mark.parametrize("seed", range(8))
def test_fuzz_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    refused = accepted = 0
    for _ in range(1500):
        header, image = frames_of(sample(int(rng.integers(100))))
        what = rng.integers(0, 4)
        if what == 0:
            header = mutated(rng, header)
        elif what == 1:
            header = rng.bytes(int(rng.integers(0, 300)))
        else:
            header = json.dumps(poisoned(rng, json.loads(header))).encode("utf-8", "surrogatepass")
        if rng.random() < 0.1:
            image = mutated(rng, image)
        try:
            got = decode_sample([header, image], CONTRACT)
        except MessageError:
            refused += 1
        else:
            accepted += 1
            assert_sound(got)
    assert refused > 1000


@pytest.mark.parametrize("seed", range(3))
def test_fuzz_samples_in_full(seed: int) -> None:
    rng = np.random.default_rng(seed)
    document, image, mask = frames_of(full_sample())
    refused = 0
    for _ in range(1500):
        changed = json.loads(document)
        changed["instances"] = poisoned(rng, changed["instances"])
        try:
            got = decode_sample([json.dumps(changed).encode("utf-8", "surrogatepass"), image, mask], FULL)
        except MessageError:
            refused += 1
            continue
        assert_sound(got)
        assert len({i.name for i in got.instances}) == len(got.instances) > 0
        for instance in got.instances:
            assert all(f.shape == (4, 4) and np.isfinite(f).all() for f in instance.frames.values())
            assert all(math.isfinite(q) for q in instance.joints.values())
    assert refused > 500


@pytest.mark.parametrize("seed", range(4))
def test_fuzz_news(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    posterior = Posterior(3, {"joint/a": (1.0,) * 8, "light/strength": (2.0,) * 6}).encode(RUN)
    event = encode_event(RUN, ("progress", {"step": 3, "workers": {"0": 1.5}}))
    refused = 0
    for _ in range(1500):
        for original, decode in ((posterior, Posterior.decode), (event, decode_event)):
            if rng.random() < 0.5:
                data = mutated(rng, original)
            else:
                data = json.dumps(poisoned(rng, json.loads(original))).encode("utf-8", "surrogatepass")
            try:
                got = decode(data, RUN)
            except MessageError:
                refused += 1
                continue
            if isinstance(got, Posterior):
                assert got.version >= 0
                assert all(math.isfinite(t) and t > 0 for theta in got.concentrations.values() for t in theta)
            else:
                assert isinstance(got[0], str) and isinstance(got[1], dict)
    assert refused > 1000
