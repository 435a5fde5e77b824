# SPDX-License-Identifier: GPL-3.0-or-later
"""The environment builder: makes, completes, refuses, is cancelled; and the doctor's answers in words."""

from __future__ import annotations

import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import pytest
import robot_keypoints
from robot_keypoints.addon.properties import preferences
from robot_keypoints.addon.services import trainer_environment
from robot_keypoints.addon.services.jobs import State
from robot_keypoints.addon.services.trainer_environment import Service
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes import environment_builder as builder


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(preferences, "_plain", preferences.Plain())
    made = Service()
    yield made
    made.shutdown()


def until(condition: Callable[[], bool], service: Service, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, service.building
        service.tick()
        time.sleep(0.05)


def wheel(folder: Path) -> Path:
    """A tiny package to install without a network."""
    folder.mkdir()
    path = folder / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_thing.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tiny_thing.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


def test_the_packaged_list_names_what_the_trainer_needs() -> None:
    wanted = builder.requirements()
    assert any(r.startswith("torch>=") for r in wanted)
    assert any(r.startswith("numpy") for r in wanted)
    assert not any(r.startswith("bpy") for r in wanted)


def test_a_list_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="install the extension again"):
        builder.requirements(tmp_path / "pyproject.toml")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(UserError, match="does not tell"):
        builder.requirements(tmp_path / "pyproject.toml")


def test_makes_an_environment_and_chooses_it(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(package.parent))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# what is needed\ntiny-thing\n")
    folder = tmp_path / "an environment"
    service.create(folder, sys.executable, requirements=requirements)
    until(lambda: service.building.state is not State.RUNNING, service)
    assert service.building.state is State.OK, service.building
    python = builder.python_in(folder)
    assert preferences.get().python == str(python)
    assert (folder / "lib").exists() or (folder / "Lib").exists()
    assert any(folder.rglob("tiny_thing.py"))
    until(lambda: service.health.state is not State.RUNNING, service)
    assert service.health.state is State.FAILED  # it has no torch
    assert service.health.mend


def test_a_failing_installation_says_why(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("no-such-thing-at-all\n")
    service.create(tmp_path / "e", sys.executable, requirements=requirements)
    until(lambda: service.building.state is not State.RUNNING, service)
    assert service.building.state is State.FAILED
    assert "no-such-thing-at-all" in service.building.reason
    assert "installing the libraries failed" in service.building.reason
    assert service.building.lines
    assert preferences.get().python == ""


def test_cancelling_ends_every_process(service: Service, tmp_path: Path) -> None:
    slow = tmp_path / "slow-python"
    marker = tmp_path / "pid"
    slow.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo 3 12; exit; fi\necho $$ > {marker}\nexec sleep 300\n')
    slow.chmod(0o755)
    service.create(tmp_path / "e", str(slow), requirements=_empty(tmp_path))
    until(marker.exists, service)
    until(lambda: bool(marker.read_text().strip()), service)
    pid = int(marker.read_text())
    service.cancel()
    until(lambda: not service.busy, service)
    assert service.building.state is State.CANCELLED
    until(lambda: not _alive(pid), service)
    assert preferences.get().python == ""


def _empty(folder: Path) -> Path:
    file = folder / "none.txt"
    file.write_text("")
    return file


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().split()[2] != "Z"


def test_folders_with_other_things_are_refused(service: Service, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    with pytest.raises(UserError, match="already holds other files"):
        service.create(tmp_path / "full", sys.executable)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        service.create(tmp_path / "file", sys.executable)
    with pytest.raises(UserError, match="not a full path"):
        service.create(Path("somewhere"), sys.executable)
    assert not service.busy


def test_a_base_that_is_no_python(service: Service, tmp_path: Path) -> None:
    service.create(tmp_path / "e", str(tmp_path / "nothing"), requirements=_empty(tmp_path))
    until(lambda: service.building.state is not State.RUNNING, service)
    assert "does not work as a Python" in service.building.reason
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho 3 9\n")
    old.chmod(0o755)
    service.create(tmp_path / "e", str(old), requirements=_empty(tmp_path))
    until(lambda: service.building.state is not State.RUNNING, service)
    assert "Python 3.9, but 3.11 or later" in service.building.reason


def test_a_check_ends_with_its_parent(service: Service, tmp_path: Path) -> None:
    slow = tmp_path / "slow-python"
    marker = tmp_path / "pid"
    slow.write_text(f"#!/bin/sh\necho $$ > {marker}\nexec sleep 300\n")
    slow.chmod(0o755)
    preferences.get().python = str(slow)
    service.check()
    until(lambda: marker.exists() and bool(marker.read_text().strip()), service)
    pid = int(marker.read_text())
    assert _alive(pid)
    service.shutdown()
    until(lambda: not _alive(pid), service)


def test_checking_needs_a_python(service: Service) -> None:
    with pytest.raises(UserError, match="No Python with torch is chosen"):
        service.check()


def test_the_doctor_s_answers_in_words() -> None:
    def answer(ok: bool, *checks: dict[str, object]) -> dict[str, object]:
        return {"ok": ok, "torch": "2.9.1+cu130", "device": "CPU, 2 threads", "checks": list(checks)}

    fine = {"name": "torch", "ok": True, "detail": "2.9.1", "mend": ""}
    health = trainer_environment.read_health(answer(True, fine), "a warning", "p")
    assert (health.state, health.line) == (State.OK, "torch 2.9.1, CPU, 2 threads")
    bad = {"name": "safetensors", "ok": False, "detail": "No module named 'safetensors'", "mend": "pip install it"}
    health = trainer_environment.read_health(answer(False, fine, bad), "a warning", "p")
    assert health.state is State.FAILED
    assert health.line == "safetensors: No module named 'safetensors'"
    assert health.mend == ("pip install it",)
    health = trainer_environment.read_health(None, "Segmentation fault", "p")
    assert health.state is State.FAILED
    assert "Segmentation fault" in health.line


@pytest.mark.parametrize(
    ("said", "words"),
    [("", "it printed nothing"), ("{broken", "{broken"), ('{"checks": 3}', "can't be read"), ("Oh dear", "Oh dear")],
)
def test_a_python_that_answers_something_else(service: Service, tmp_path: Path, said: str, words: str) -> None:
    script = tmp_path / "odd-python"
    script.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\nexit 1\n")
    script.chmod(0o755)
    preferences.get().python = str(script)
    service.check()
    until(lambda: service.health.state is not State.RUNNING, service)
    assert service.health.state is State.FAILED and words in service.health.line and service.health.mend


def test_the_operator_asks_for_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot_keypoints.register()
    try:
        monkeypatch.setattr(trainer_environment, "may_go_online", lambda: False)
        with pytest.raises(RuntimeError, match="Allow Online Access"):
            bpy.ops.robot_keypoints.create_environment(folder=str(tmp_path / "e"))
        assert not trainer_environment.SERVICE.busy
    finally:
        robot_keypoints.unregister()
