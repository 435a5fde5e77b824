# SPDX-License-Identifier: GPL-3.0-or-later
"""``render``: the same seed makes the same files, nothing is ever half there, and a mistake is one sentence.

A fake Blender draws stick figures, over the real channel and in processes of their own.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fake_blender
import numpy as np
import pytest
import synthetic
from PIL import Image
from robot_keypoints.core import files
from robot_keypoints.core.messages import job_progress
from robot_keypoints.core.messages.samples import Sample
from robot_keypoints.core.processes.folder_lock import FolderLock
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings.toml_file import save
from robot_keypoints.trainer.commands import main as cli, render as render_command

COUNT = 10


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_blender.make_importable(monkeypatch)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "settings.toml"
    save(synthetic.settings(), path)
    return path


def command(source: Path, out: Path, *more: object, count: int = COUNT, form: str = "coco") -> list[str]:
    extra = [str(m) for m in more]
    return [
        "render",
        str(source),
        "--count",
        str(count),
        "--format",
        form,
        "--out",
        str(out),
        "--blender",
        fake_blender.COMMAND,
        *extra,
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a data set but what tells of how it was made."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.parent.name != "logs" and p.name != "settings.toml"
    }


def assert_whole(folder: Path) -> set[str]:
    """Every file can be read and nothing half-written lies about; names of the samples whose label is there."""
    for path in folder.rglob("*"):
        assert ".part" not in path.name, path
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        if path.suffix == ".json":
            json.loads(path.read_text(encoding="utf-8"))
    labels = {p.stem for p in (folder / "labels").glob("*.json")}
    assert labels <= {p.stem for p in (folder / "images").glob("*.png")}
    return labels


@pytest.fixture(scope="module")
def finished(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set made by one worker without a break."""
    out = tmp_path_factory.mktemp("finished") / "set"
    with pytest.MonkeyPatch.context() as patch:
        fake_blender.make_importable(patch)
        assert cli.main(command(source, out, "--workers", 1)) == 0
    return out


def test_the_same_seed_makes_the_same_files_with_any_number_of_workers(
    source: Path, finished: Path, tmp_path: Path
) -> None:
    assert cli.main(command(source, tmp_path / "three", "--workers", 3)) == 0
    one, three = contents(finished), contents(tmp_path / "three")
    assert one == three
    assert len([n for n in one if n.startswith("images")]) == COUNT
    assert len({v for n, v in one.items() if n.startswith("images")}) == COUNT
    assert cli.main(command(source, tmp_path / "other", "--seed", 1, count=3)) == 0
    other = contents(tmp_path / "other")
    assert all(other[f"labels/{i:06d}.json"] != one[f"labels/{i:06d}.json"] for i in range(3))


def test_labels_tell_everything(finished: Path) -> None:
    for i in range(COUNT):
        label = json.loads((finished / "labels" / f"{i:06d}.json").read_text(encoding="utf-8"))
        sample = drawn(i)
        assert label["index"] == i
        assert label["hidden"] == {"bins": sample.latents.bins, "values": sample.latents.values}
        (instance,) = label["instances"]
        points = np.array([k["xyz"] for k in instance["keypoints"]]) @ np.array(label["camera_matrix"]).T
        np.testing.assert_allclose(points[:, :2] / points[:, 2:], sample.keypoints, atol=1e-6)
        np.testing.assert_allclose([k["uv"] for k in instance["keypoints"]], sample.keypoints, atol=1e-4)
        assert instance["joints"] == {n: sample.latents.values[f"joint/{n}"] for n in ("lower", "upper")}


def test_killed_and_started_again_it_goes_on(source: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    line = [sys.executable, str(LAUNCHER), "cli", *command(source, out, "--workers", 2, "--transparent")]
    process = subprocess.Popen(line, env={**os.environ, "FAKE_BLENDER": "slow"}, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(out.glob("labels/*.json"))) >= 3, process)
    process.kill()
    process.wait()
    before = {p: p.stat().st_mtime_ns for p in out.glob("labels/*.json")}
    assert 3 <= len(before) < COUNT
    (out / "images" / ".000009.png.1.part").write_bytes(b"half")
    # A picture whose label was not reached is not a sample.
    (out / "images" / f"{COUNT - 1:06d}.png").write_bytes(b"old")
    assert cli.main(command(source, out, "--workers", 3, "--transparent")) == 0
    assert len(assert_whole(out)) == COUNT
    for i in range(COUNT):
        with Image.open(out / "images" / f"{i:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), drawn(i).image)
    texts = [(folder / "annotations.json").read_bytes() for folder in (out, finished)]
    assert texts[0] == texts[1]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    again = {p: p.stat().st_mtime_ns for p in out.rglob("*.png")}
    assert cli.main(command(source, out, "--transparent")) == 0
    assert {p: p.stat().st_mtime_ns for p in again} == again


def drawn(number: int) -> Sample:
    """What a sample of seed 0 shows."""
    return synthetic.sample(synthetic.settings().scene_model(), np.random.default_rng([0, number]))


def wait_for(condition: object, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():  # type: ignore[operator]
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_stops_in_order(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    line = [sys.executable, str(LAUNCHER), "cli", *command(source, out, "--transparent", count=1000)]
    process = subprocess.Popen(line, env={**os.environ, "FAKE_BLENDER": "slow"}, stderr=subprocess.PIPE)
    wait_for(lambda: list(out.glob("labels/*.json")), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors and b"the same command goes on" in errors
    assert 1 <= len(assert_whole(out)) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_terminal_that_hangs_up_stops_in_order(source: Path, tmp_path: Path) -> None:
    """Both the shell and the system tell of it, and nothing can be written to the terminal any more."""
    out = tmp_path / "set"
    line = [sys.executable, str(LAUNCHER), "cli", *command(source, out, "--transparent", count=1000)]
    ours, theirs = os.openpty()
    # Under nohup it would be ignored, and rightly so.
    process = subprocess.Popen(
        line, env={**os.environ, "FAKE_BLENDER": "slow"}, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip
    os.close(theirs)
    wait_for(lambda: list(out.glob("labels/*.json")), process)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 128 + signal.SIGHUP
    assert 1 <= len(assert_whole(out)) < 1000


def test_it_ends_with_the_process_that_started_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    line = [sys.executable, str(LAUNCHER), "cli", *command(source, out, "--lifeline", "--transparent", count=1000)]
    process = subprocess.Popen(
        line, env={**os.environ, "FAKE_BLENDER": "slow"}, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: list(out.glob("labels/*.json")), process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) != 0
    assert_whole(out)


def test_workers_that_die_are_started_again(
    source: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_BLENDER", "dies")
    assert cli.main(command(source, tmp_path / "set", "--workers", 1)) == 0
    assert contents(tmp_path / "set") == contents(finished)
    assert "worker 1 ended with exit code 1 and was started again" in capsys.readouterr().err


def test_workers_that_never_render_are_given_up(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAKE_BLENDER", "broken")
    assert cli.main(command(source, tmp_path / "set", "--workers", 1)) == 1
    errors = capsys.readouterr().err
    assert "worker 1 ended with exit code 1" in errors and "snap" in errors and "Traceback" not in errors
    monkeypatch.setenv("FAKE_BLENDER", "mistake")
    assert cli.main(command(source, tmp_path / "set", "--workers", 1)) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: There is no stick: find one"


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(
    source: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk gets full in the middle of a file, as it does."""
    real, written = os.fsync, []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    out = tmp_path / "set"
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        assert cli.main(command(source, out)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: There is no room") and "give the same command again" in line
    assert 0 < len(assert_whole(out)) < COUNT
    assert cli.main(command(source, out)) == 0
    assert contents(out) == contents(finished)


def test_a_data_set_that_is_being_written_is_not_written_by_two(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert cli.main(command(source, out)) == 0
    before = contents(out)
    lock = FolderLock(out)
    try:
        assert cli.main(command(source, out, count=20)) == 2
    finally:
        lock.release()
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: Another process is writing to {out}")
    assert contents(out) == before


def test_a_scene_that_was_cut_off_is_built_again(
    source: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As an earlier version left it on a full disk; nothing is lost by building it again."""
    out = tmp_path / "set"
    assert cli.main(command(source, out, count=1)) == 0
    (out / "scene.blend").write_bytes(b"BLENDER-v405")
    assert cli.main(command(source, out)) == 0
    assert "is cut off or damaged; it is built again" in capsys.readouterr().err
    assert contents(out) == contents(finished)


def test_another_data_set_in_the_same_folder_is_refused(
    source: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(finished)
    other = tmp_path / "settings.toml"
    save(replace(synthetic.settings(), skeleton=()), other)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("words", encoding="utf-8")
    for arguments, words in (
        (command(source, finished, "--seed", 7), "the seed 0"),
        (command(source, finished, form="ndds"), "the format coco"),
        (command(source, finished, "--transparent"), "a background"),
        (command(source, finished, "--preset", "balanced"), "other settings"),
        (command(other, finished), "other settings"),
        (command(source, stranger), "other files"),
    ):
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and words in line
    assert contents(finished) == before
    # Workers and training have nothing to do with what a data set looks like.
    save(synthetic.settings(seed=99), other)
    assert cli.main(command(other, finished)) == 0
    assert contents(finished) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}/settings.toml", "--count", "0", "--format", "coco", "--out", "{0}/out"], "--count is 0"),
        (["{0}/settings.toml", "--count", "-3", "--format", "coco", "--out", "{0}/out"], "--count is -3"),
        (["{0}/settings.toml", "--count", "3", "--out", "{0}/out"], "give --format"),
        (["{0}/settings.toml", "--count", "3", "--format", "ndds"], "give --out"),
        (["{0}/settings.toml", "--format", "ndds", "--out", "{0}/out"], "give --count"),
        (["{0}/settings.toml", "--count", "3"], "nothing to write"),
        (["{0}/settings.toml", "--count", "101", "--sheet", "{0}/sheet.png"], "at most 100"),
        (["{0}/settings.toml", "--sheet", "{0}/sheet.gif"], "must be a picture"),
        (["{0}/settings.toml", "--sheet", "{0}/no/sheet.png"], "a folder that exists"),
        (["{0}/settings.toml", "--count", "3", "--format", "coco", "--out", "{0}/file/set"], "can't be written"),
        (["{0}/settings.toml", "--count", "3", "--format", "coco", "--out", "{0}/file"], "can't be written"),
        (["{0}/settings.toml", "--count", "3", "--format", "coco", "--out", "{0}/out", "--seed", "-1"], "--seed is -1"),
        (["{0}/settings.toml", "--count", "3", "--format", "coco", "--out", "{0}/out", "--workers", "0"], "--workers"),
        (["{0}/nothing.toml", "--count", "3", "--format", "coco", "--out", "{0}/out"], "can't be read"),
        (["{0}", "--count", "3", "--format", "coco", "--out", "{0}/out", "--blender", "/no/blender"], "no Blender"),
        (["{0}/bad.toml", "--count", "3", "--format", "coco", "--out", "{0}/out"], "there is no setting 'robbot'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    save(synthetic.settings(), tmp_path / "settings.toml")
    (tmp_path / "bad.toml").write_text("[robbot]\n", encoding="utf-8")
    (tmp_path / "file").write_text("a file", encoding="utf-8")
    assert cli.main(["render", *(a.format(tmp_path) for a in arguments)]) == 2
    captured = capsys.readouterr()
    *before, line = captured.err.splitlines()
    assert captured.out == "" and set(before) <= {"building the scene"}
    assert line.startswith("error: ") and words in line


def test_an_unknown_format_or_preset_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(command(source, tmp_path / "set", form="voc")) == 2
    assert "invalid choice: 'voc'" in capsys.readouterr().err.splitlines()[-1]
    assert cli.main(command(source, tmp_path / "set", "--preset", "best")) == 2
    assert "invalid choice: 'best'" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "set").exists()


def test_a_program_reads_how_far_it_is(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--json", "--progress", "--sheet", tmp_path / "sheet.png")
    assert cli.main(command(source, tmp_path / "set", *arguments, count=3)) == 0
    *steps, summary = (job_progress.decode(line) for line in capsys.readouterr().out.splitlines())
    assert isinstance(summary, dict) and summary["samples"] == 3
    assert list(dict.fromkeys(s.stage for s in steps)) == ["scene", "workers", "render", "sheet"]
    assert (steps[-1].done, steps[-1].total, steps[0].total) == (3, 3, 0)
    rendering = [s for s in steps if s.stage == "render"]
    assert rendering[-1].done == 3 and all(s.text == f"rendering: {s.done} of 3 samples" for s in rendering)


def test_json_is_all_that_stdout_gets(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, sheet = tmp_path / "set", tmp_path / "sheet.png"
    assert cli.main(command(source, out, "--json", "--sheet", sheet, count=3)) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert summary.pop("seconds") > 0
    assert summary.pop("obstruction") == {"draws": 0, "unseen": 0, "objects": {}, "left_out": []}
    assert summary == {"out": str(out), "sheet": str(sheet), "format": "coco", "samples": 3, "rendered": 3}
    assert "warning: this robot is made of sticks" in captured.err.splitlines()
    assert cli.main(command(source, out, "--json", count=5)) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["samples"], summary["rendered"]) == (5, 2)


def test_a_sheet_alone_leaves_nothing_else_behind(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    sheet = tmp_path / "sheet.png"
    assert cli.main(["render", str(source.parent), "--sheet", str(sheet), "--blender", fake_blender.COMMAND]) == 0
    with Image.open(sheet) as picture:
        assert picture.width > 4 * 320
    assert list(scratch.iterdir()) == []


def test_a_preset_takes_the_place_of_the_settings_variables(tmp_path: Path) -> None:
    save(synthetic.settings(), tmp_path / "settings.toml")
    options = render_command.RenderOptions(tmp_path, preset="photographs")
    settings = render_command.load_source(options)
    assert [v.name for v in settings.variables] == ["joint/lower", "joint/upper"]
    assert settings.scene.preset == "photographs"
    kept = render_command.load_source(render_command.RenderOptions(tmp_path, workers=5, blender="blender"))
    assert kept.variables == synthetic.settings().variables
    assert (kept.workers.count, kept.workers.blender) == (5, "blender")
