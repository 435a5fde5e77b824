# SPDX-License-Identifier: GPL-3.0-or-later
"""``predict`` on images, folders, patterns, videos; what is drawn and written; one sentence for what is no picture."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import synthetic
import torch
from PIL import Image
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.trainer.commands import main as cli
from robot_keypoints.trainer.images import image_file
from robot_keypoints.trainer.inference import image_overlay, image_sources
from robot_keypoints.trainer.inference.image_sources import Picture, Source
from robot_keypoints.trainer.inference.predictor import Predictor
from robot_keypoints.trainer.inference.video_overlay import VideoOverlay
from robot_keypoints.trainer.networks import factory, model_file
from robot_keypoints.trainer.networks.model_file import ModelInfo

INFO = ModelInfo(
    factory.NetworkConfig("light", 3, 1.0, width=8), 64, 48, synthetic.NAMES, (("foot", "knee"), ("knee", "hand"))
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    torch.manual_seed(0)
    model_file.save_model(path, factory.build(INFO.network).state_dict(), INFO)
    return path


def video(path: Path, count: int = 6) -> Path:
    """Frames of one grey each, so that they can be told apart."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (64, 48))
    for i in range(count):
        frame = np.full((48, 64, 3), 20 + 30 * i, np.uint8)
        frame[..., 2] = 250  # red, as BGR has it
        writer.write(frame)
    writer.release()
    return path


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (70, 50), (90, 90, 90)).save(path)
    return path


def ask(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert cli.main(["predict", *map(str, arguments), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_files_folders_and_patterns(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("shots/b.png", "shots/a.JPG", "more/1.png", "more/2.png", "more/x/3.png"):
        picture(tmp_path / name)
    (tmp_path / "shots" / "notes.txt").write_text("no picture", encoding="utf-8")
    odd = picture(tmp_path / "odd [1].png")  # a name that looks like a pattern
    given = [tmp_path / "shots", tmp_path / "more" / "[12].png", tmp_path / "more" / "**" / "3.png", odd]
    document = ask(capsys, model, *given)
    names = [Path(i["image"]).name for i in document["images"]]
    assert names == ["a.JPG", "b.png", "1.png", "2.png", "3.png", "odd [1].png"]
    assert all("frame" not in i for i in document["images"])


def test_videos_are_read_frame_by_frame_and_drawn(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, overlay, out = video(tmp_path / "arm.mp4"), tmp_path / "overlay", tmp_path / "lines.jsonl"
    document = ask(capsys, model, file, picture(tmp_path / "a.png"), "--overlay", overlay, "--out", out)
    frames = [i.get("frame") for i in document["images"]]
    assert frames == [0, 1, 2, 3, 4, 5, None]
    assert [i["seconds"] for i in document["images"][:6]] == pytest.approx([n / 12.5 for n in range(6)], abs=1e-3)
    assert sorted(p.name for p in overlay.iterdir()) == ["a.png", "arm.mp4"]
    drawn = cv2.VideoCapture(str(overlay / "arm.mp4"))
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 6 and drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()] == document["images"]
    assert len(ask(capsys, model, file, "--frames", 2, "--overlay", overlay)["images"]) == 2
    assert (overlay / "arm-2.mp4").exists()  # nothing is overwritten


def test_frames_are_rgb(tmp_path: Path) -> None:
    (source,) = image_sources.find([str(video(tmp_path / "arm.avi"))])
    first = next(iter(source.pictures()))
    assert first.pixels[..., 0].mean() > 200 > 60 > first.pixels[..., 2].mean()


def test_several_peaks_and_sizes_are_told(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = picture(tmp_path / "a.png")
    keypoint = ask(capsys, model, image, "--peaks", 3, "--scales", "0.75,1")["images"][0]["keypoints"][0]
    assert len(keypoint["peaks"]) <= 3 and "peaks" not in ask(capsys, model, image)["images"][0]["keypoints"][0]
    assert cli.main(["predict", str(model), str(image), "--peaks", "3"]) == 0
    assert "foot" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}/none.png"], "There is no image at"),
        (["{0}/none*.png"], "No file matches"),
        (["{0}/empty"], "There are no images in"),
        (["{0}/text.png"], "can't be read as an image"),
        (["{0}/text.mp4"], "can't be read as a video"),
        (["{0}/none.mp4"], "can't be read as a video"),
        (["webcam:0"], "A webcam never ends"),
        (["webcam:93", "--frames", "1"], "There is no webcam 93"),
        (["{0}/a.png", "--scales", "1;2"], "write numbers with commas"),
        (["{0}/a.png", "--scales", "0"], "from 0.1 to 8"),
        (["{0}/a.png", "--peaks", "-1"], "--peaks is -1"),
        (["{0}/a.png", "--frames", "0"], "--frames is 0"),
        (["{0}/a.png", "--out", "{0}/a.png"], "There is a file"),
        (["{0}/a.png", "--out", "{0}/no/where.jsonl"], "can't be written"),
        (["{0}/a.png", "--overlay", "{0}/a.png"], "can't be made"),
    ],
)
def test_what_is_no_picture_is_one_sentence(
    tmp_path: Path, model: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    before = picture(tmp_path / "a.png").read_bytes()
    for name in ("text.png", "text.mp4"):
        (tmp_path / name).write_text("hello", encoding="utf-8")
    assert cli.main(["predict", str(model), *(a.format(tmp_path) for a in arguments), "--json"]) == 2
    captured = capfd.readouterr()
    # OpenCV has a word of its own where there is no camera.
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert captured.out == "" and len(errors) == 1 and words in errors[0]
    assert (tmp_path / "a.png").read_bytes() == before
    assert not list(tmp_path.glob("**/*.part*"))


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1.0,\n{0}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile mine.mp4\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["playlist", "concatenation", "session"],
)  # fmt: skip
def test_a_video_can_not_name_other_files(tmp_path: Path, text: str) -> None:
    own = video(tmp_path / "mine.mp4")
    assert len(list(Source(str(own), "video").pictures())) == 6
    path = tmp_path / "arm.mp4"
    path.write_text(text.format(own), encoding="utf-8")
    with pytest.raises(UserError, match="its kind is not known"):
        next(iter(Source(str(path), "video").pictures()))


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("avi", "MJPG"),
        ("mkv", "mp4v"),
        ("mov", "mp4v"),
        ("webm", "VP80"),
        ("wmv", "WMV2"),
        ("mpg", "MPG1"),
        ("m4v", "mp4v"),
    ],
)
def test_videos_of_all_kinds_are_read(tmp_path: Path, ending: str, code: str) -> None:
    path = tmp_path / f"arm.{ending}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 25.0, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 20 + 30 * i, np.uint8))
    writer.release()
    shown = list(Source(str(path), "video").pictures())
    assert shown and all(p.pixels.shape == (48, 64, 3) for p in shown)


def test_a_video_with_too_large_frames_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sources, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(UserError, match="has 64 × 48 pixels: give a video of 3,071 at most"):
        next(iter(Source(str(video(tmp_path / "arm.mp4")), "video").pictures()))


def test_videos_need_opencv_and_images_do_not(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = video(tmp_path / "arm.mp4")
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert len(ask(capsys, model, picture(tmp_path / "a.png"))["images"]) == 1
    assert cli.main(["predict", str(model), str(file)]) == 2
    assert "pip install opencv-python-headless" in capsys.readouterr().err


def test_a_video_that_breaks_leaves_nothing_and_one_that_ends_early_is_whole(tmp_path: Path) -> None:
    frame = np.zeros((48, 64, 3), np.uint8)
    broken, early, empty = (VideoOverlay(tmp_path / f"{n}.mp4", r) for n, r in (("b", 10.0), ("e", 0.0), ("n", 0.0)))
    broken.add(frame)
    broken.abandon()
    early.add(frame)
    early.close()
    empty.close()
    assert [p.name for p in tmp_path.iterdir()] == ["e.mp4"]
    with pytest.raises(UserError, match="can't be read as a video"):
        next(iter(image_sources.Source(str(tmp_path / "n.mp4"), "video").pictures()))


@pytest.mark.parametrize("rate", [23.976, 133.4567, 1234.5678])
def test_odd_rates_are_written(tmp_path: Path, rate: float) -> None:
    written = VideoOverlay(tmp_path / "a.mp4", rate)
    written.add(np.zeros((48, 64, 3), np.uint8))
    written.close()
    assert cv2.VideoCapture(str(tmp_path / "a.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-4)


def test_names_do_not_cover_one_another() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    points = [(300.0, 200.0), (302.0, 201.0), (639.0, 479.0)]
    drawn = np.asarray(image_overlay.draw_keypoints(image, INFO, points, [1.0, 1.0, 1.0]), int)
    alone = [
        np.asarray(image_overlay.draw_keypoints(image, INFO, points, [float(i == j) for j in range(3)]), int)
        for i in range(3)
    ]
    written = [(a.sum(-1) > 0).sum() for a in alone]
    assert (drawn.sum(-1) > 0).sum() > 0.9 * sum(written)
    left_out = np.asarray(image_overlay.draw_keypoints(image, INFO, points, [0.4, 0.4, 0.4]))
    assert not left_out.any()


def test_a_webcam_goes_on_until_ctrl_c(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames(source: Source, most: int | None = None) -> Iterator[Picture]:
        for i in range(3):
            yield Picture(source.name, np.zeros((48, 64, 3), np.uint8), i, 0.1 * i)
        raise KeyboardInterrupt

    monkeypatch.setattr(Source, "pictures", frames)
    out, overlay = tmp_path / "lines.jsonl", tmp_path / "drawn"
    command = ["predict", str(model), "webcam:0", "--out", str(out), "--overlay", str(overlay)]
    assert cli.main(command) == 0
    assert "webcam:0 frame 2" in capsys.readouterr().out
    assert [json.loads(line)["frame"] for line in out.read_text(encoding="utf-8").splitlines()] == [0, 1, 2]
    assert cv2.VideoCapture(str(overlay / "webcam-0.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert cli.main(["predict", str(model), str(video(tmp_path / "arm.mp4"))]) == 130  # cut short, that is no success


@pytest.mark.parametrize("problem", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you …")])
def test_too_little_memory_is_one_sentence(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(Predictor, "predict", fail)
    assert cli.main(["predict", str(model), str(picture(tmp_path / "a.png"))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not enough memory" in line
    problem.args = ("another matter",)
    if isinstance(problem, RuntimeError):
        assert cli.main(["predict", str(model), str(tmp_path / "a.png")]) == 1


def test_a_bad_picture_is_named_and_the_others_are_not_lost(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Case: one of four is cut off; among them are files that a Mac and Windows leave behind."""
    folder, out = tmp_path / "shots", tmp_path / "lines.jsonl"
    for name in ("a.png", "b.png", "c.png", "d.png"):
        picture(folder / name)
    (folder / "c.png").write_bytes((folder / "c.png").read_bytes()[:60])
    for name in ("._a.png", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    os.mkfifo(folder / "pipe.png")
    assert cli.main(["predict", str(model), str(folder), "--json", "--out", str(out)]) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [Path(e["image"]).name for e in document["images"]] == ["a.png", "b.png", "d.png"]
    (bad,) = document["unreadable"]
    assert Path(bad["image"]).name == "c.png" and "is cut off" in bad["error"]
    warning, error = captured.err.splitlines()
    assert warning == f"warning: {bad['error']}" and error.startswith("error: 1 of 4 images and videos")
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [Path(e["image"]).name for e in lines] == ["a.png", "b.png", "c.png", "d.png"] and lines[2] == bad
    assert cli.main(["predict", str(model), str(folder)]) == 2
    printed = capsys.readouterr().out
    assert all(f"{n}.png (70 × 50)" in printed for n in "abd") and "c.png" not in printed


def test_a_folder_that_may_not_be_read_is_one_sentence(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "shots" / "a.png")

    def denied(*_: object) -> list[str]:
        raise PermissionError(13, "Permission denied")  # the tests may run as one who may read everything

    monkeypatch.setattr(image_sources.os, "listdir", denied)
    assert cli.main(["predict", str(model), str(tmp_path / "shots")]) == 2
    assert "shots can't be read (Permission denied): choose another" in capsys.readouterr().err


def rotated(path: Path, matrix: tuple[int, ...]) -> Path:
    """A film of 64 × 48 whose top left corner is white, with a display matrix as telephones write it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:16, :16] = 255
    for _ in range(4):
        writer.write(frame)
    writer.release()
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        ((0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30), (48, 64), (0, -1)),
        ((-65536, 0, 0, 0, -65536, 0, 64 << 16, 48 << 16, 1 << 30), (64, 48), (-1, -1)),
        ((0, -65536, 0, 65536, 0, 0, 0, 64 << 16, 1 << 30), (48, 64), (-1, 0)),
        ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), (64, 48), (0, 0)),
    ],
    ids=["90", "180", "270", "0"],
)
def test_films_are_turned_as_players_show_them(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], matrix: tuple[int, ...], size: tuple[int, int],
    corner: tuple[int, int],
) -> None:  # fmt: skip
    file = rotated(tmp_path / "arm.mp4", matrix)
    pictures = list(image_sources.Source(str(file), "video").pictures())
    assert len(pictures) == 4 and all(p.pixels.shape == (size[1], size[0], 3) for p in pictures)
    places = {(v, u): pictures[0].pixels[v, u, 0] > 128 for v in (0, -1) for u in (0, -1)}
    assert [place for place, white in places.items() if white] == [corner]
    overlay = tmp_path / "drawn"
    entries = ask(capsys, model, file, "--overlay", overlay)["images"]
    assert [(e["width"], e["height"]) for e in entries] == [size] * 4
    assert [p.pixels.shape[1::-1] for p in image_sources.Source(str(overlay / "arm.mp4"), "video").pictures()] == [
        size
    ] * 4


def test_a_film_that_breaks_off_gives_what_it_has(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, overlay = video(tmp_path / "arm.avi", 8), tmp_path / "drawn"
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.index(b"movi") + (len(whole) - whole.index(b"movi")) // 2])
    assert cli.main(["predict", str(model), str(file), "--json", "--overlay", str(overlay)]) == 2
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    count = len(document["images"])
    assert 0 < count < 8 and f"breaks off after {count} of 8 frames" in document["unreadable"][0]["error"]
    assert cv2.VideoCapture(str(overlay / "arm.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == count
    (tmp_path / "pipe.mp4").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert cli.main(["predict", str(model), str(tmp_path / "pipe.mp4"), "--overlay", str(overlay)]) == 2
    assert "(it is not a regular file)" in capsys.readouterr().err


def test_frames_of_odd_and_changing_sizes_are_drawn_whole(tmp_path: Path) -> None:
    written = VideoOverlay(tmp_path / "a.mp4", 10.0)
    for size in ((49, 65), (49, 65), (30, 20)):
        written.add(np.full((*size, 3), 200, np.uint8))
    written.close()
    (source,) = image_sources.find([str(tmp_path / "a.mp4")])
    frames = [p.pixels for p in source.pictures()]
    assert [f.shape for f in frames] == [(50, 66, 3)] * 3 and min(f.mean() for f in frames) > 190


@pytest.mark.parametrize("kind", ["film", "image", "lines"])
def test_a_disk_that_is_full_is_one_sentence_and_leaves_nothing_cut(tmp_path: Path, model: Path, kind: str) -> None:
    """A limit on a file's size stands for the full disk; OpenCV says nothing of either."""
    noise = np.random.default_rng(0).integers(0, 255, (12, 240, 320, 3), np.uint8)
    Image.fromarray(noise[0]).save(tmp_path / "a.png")
    writer = cv2.VideoWriter(str(tmp_path / "arm.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (320, 240))
    for frame in noise:
        writer.write(frame)
    writer.release()
    words = {
        "film": [tmp_path / "arm.mp4", "--overlay", tmp_path / "drawn"],
        "image": [tmp_path / "a.png", "--overlay", tmp_path / "drawn"],
        "lines": [*[tmp_path / "a.png"] * 60, "--out", tmp_path / "lines.jsonl"],
    }[kind]
    limit = "import resource, signal, runpy, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.argv = sys.argv[1:]; "
    limit += "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-B", "-c", limit, LAUNCHER, "cli", "predict", model, *words, "--json"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "can't be written" in errors[0] or "no room to write" in errors[0]
    left = list((tmp_path / "drawn").iterdir()) if kind != "lines" else []
    assert left == []
    if kind != "image":  # what was found is not lost
        assert json.loads(done.stdout)["images"]
    if kind == "lines":
        lines = (tmp_path / "lines.jsonl").read_text(encoding="utf-8")
        assert lines.endswith("\n") and all(json.loads(line) for line in lines.splitlines())


def test_a_very_large_picture_is_found_in_its_own_pixels(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((320, 240))
    small.save(tmp_path / "a.png")
    whole = ask(capsys, model, tmp_path / "a.png")["images"][0]
    monkeypatch.setattr(image_file, "KEPT_PIXELS", 320 * 240 // 4)
    reduced = ask(capsys, model, tmp_path / "a.png", "--overlay", tmp_path / "drawn")["images"][0]
    assert (reduced["width"], reduced["height"]) == (320, 240)
    for one, other in zip(whole["keypoints"], reduced["keypoints"], strict=True):
        assert abs(one["u"] - other["u"]) < 12 and abs(one["v"] - other["v"]) < 12
    with Image.open(tmp_path / "drawn" / "a.png") as drawn:
        assert drawn.size == (160, 120)
