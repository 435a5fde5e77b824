# SPDX-License-Identifier: GPL-3.0-or-later
"""The fuzzing itself: what is wrong is noticed, kept, and found again from its seed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import campaign
import mutations
import numpy as np
import pytest
import worker
from subjects import Seed


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("Raises", "KeyError: 'nothing'"),
        ("Spins", "too much processor time"),
        ("Waits", "waits for ever"),
        ("Grows", "no more memory"),
        ("Crashes", "ended with SIGABRT"),
        ("Rambles", "line breaks"),
    ],
)
def test_every_kind_of_fault_is_noticed_and_its_input_kept(tmp_path: Path, kind: str, words: str) -> None:
    name = f"subjects_planted:{kind}"
    report = campaign.run(name, 1, 1.0, tmp_path, processor=1, patience=8.0)
    assert report.faults and -1 not in report.faults
    number = min(report.faults)
    assert words in report.faults[number]
    kept = tmp_path / "faults" / str(number)
    data = (kept / "a.bin").read_bytes()
    seed = Seed("a.bin", {"a.bin": b"0123456789abcdef"})
    assert data == worker.case(name, 1, number, [seed]).files["a.bin"] != seed.files["a.bin"]


def test_a_reader_without_fault_passes(tmp_path: Path) -> None:
    report = campaign.run("subjects_planted:Right", 1, 1.0, tmp_path)
    assert not report.faults and report.accepted and report.refused > 10


def test_a_worker_that_does_not_begin_is_a_fault(tmp_path: Path) -> None:
    report = campaign.run("subjects_planted:Useless", 1, 1.0, tmp_path)
    assert "did not begin" in report.faults[-1] and "it is broken" in report.faults[-1]


def test_one_case_can_be_tried_again(tmp_path: Path) -> None:
    first = campaign.run("subjects_planted:Raises", 7, 1.0, tmp_path / "first")
    number = min(first.faults)
    words = ["subjects_planted:Raises", "7", str(tmp_path / "again"), "--first", str(number), "--count", "1"]
    subprocess.run([sys.executable, str(campaign.WORKER), *words], check=True)
    again = (tmp_path / "again" / "faults" / str(number) / "fault.txt").read_text(encoding="utf-8")
    assert again == first.faults[number]
    state = json.loads((tmp_path / "again" / "state.json").read_text(encoding="utf-8"))
    assert state["faults"] == 1 and state["accepted"] == state["refused"] == 0
    shutil.rmtree(tmp_path / "again")


def _glb(tree: object) -> bytes:
    text = json.dumps(tree).encode()
    return struct.pack("<4sIIIII", b"glTF", 2, 20 + len(text) + 12, len(text), 0x4E4F534A, 0) + text + bytes(12)


def _safetensors(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


SAMPLES = {
    "a.json": b'{"a": [1, 2, {"b": "c"}], "d": null, "e": "text"}',
    "a.toml": b'a = 1\nb = [1.5, 2.5]\n[c]\nd = "e"\n',
    "a.urdf": b'<robot name="a"><link name="b"/><joint name="c"><origin xyz="1 2 3"/></joint></robot>',
    "a.obj": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
    "a.bin": bytes(range(200)),
    "a.glb": _glb({"asset": {"version": "2.0"}, "meshes": [{"name": "a"}]}),
    "a.safetensors": _safetensors({"__metadata__": {"info": '{"checksum": 1, "names": ["a"]}'}}),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_mutations_follow_from_the_seed_and_change_something(name: str) -> None:
    found = [mutations.mutated(np.random.default_rng([3, n]), name, SAMPLES[name]) for n in range(300)]
    again = [mutations.mutated(np.random.default_rng([3, n]), name, SAMPLES[name]) for n in range(300)]
    assert found == again
    assert len(set(found)) > 150 and sum(f == SAMPLES[name] for f in found) < 60
    assert max(map(len, found)) <= mutations.LONGEST


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_damaged_already_can_be_damaged_further(name: str) -> None:
    for n in range(300):
        rng = np.random.default_rng([4, n])
        data = SAMPLES[name]
        for _ in range(8):
            data = mutations.mutated(rng, name, data)
