# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains on renderings alone, and measures the model on labelled photographs: in one command, for any robot.

    python benchmarks/photographs.py DATA --out FOLDER [--minutes 60] [--seeds 1,2] [--robot URDF | --settings FILE]
    python benchmarks/photographs.py DATA --out FOLDER --recording RECORDING [--minutes 60] [--seeds 1,2]

DATA is what ``evaluate --data`` reads: images with COCO keypoints or NDDS labels. The robot is that of the settings, or
``--robot``, or the one URDF that lies in DATA or that its README names by a relative path. Without ``--settings`` the
preset ``photographs`` varies. The second form trains on renderings that ``recording.py`` has made before, and needs no
Blender. The photographs are never trained on: they are only opened when a model is ready.

For each seed the model, and ``report.html`` of ``evaluate --html``, stand in ``FOLDER/seed-N``; what was found in
``FOLDER/photographs.json`` and, as a table, in ``FOLDER/photographs.md``, written anew after each seed. A seed whose
model is there already is only measured again, so that a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from robot_keypoints.core import files, run_folder
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.processes.programs import LAUNCHER
from robot_keypoints.core.settings import completion, toml_file
from robot_keypoints.core.settings.schema import RobotSettings, SceneSettings, Settings

MINUTES = 60.0
RUN = "run"
"""The folder of a training, in that of its seed."""

REPORT = "report.html"
MENTIONED = re.compile(r"(?:\.{1,2}/)?[\w.-]+(?:/[\w.-]+)+|[\w.-]+\.urdf")
"""A relative path in a text."""

COLUMNS = (
    ("median %", "median"), ("mean %", "mean"), ("within 1 %", "within_1"), ("within 2 %", "within_2"),
    ("within 5 %", "within_5"), ("falsely sure", "false_sure_share"), ("position, mm", "position_mm"),
    ("orientation, °", "orientation_degrees"), ("by outline, mm", "outline_mm"), ("by outline, °", "outline_degrees"),
    ("renderings: median %", "renderings_median"),
    ("renderings: mean %", "renderings_mean"), ("images", "images"), ("minutes", "minutes"),
)  # fmt: skip
"""Of the table: heads, and names in the document."""


# ------------------------------------------------------------------------------------------------- what is trained on


def find_robot(data: Path) -> Path:
    """The URDF in a data set's folder, or the one that its README names.

    Raises:
        UserError: if there is none, or if there are several.
    """
    folder = data if data.is_dir() else data.parent
    found = {p.resolve() for p in folder.rglob("*.urdf")}
    if not found:
        for readme in sorted(folder.glob("README*")):
            for word in MENTIONED.findall(readme.read_text(encoding="utf-8", errors="replace")):
                place = folder / word
                found |= {p.resolve() for p in (place.glob("*.urdf") if place.is_dir() else [place]) if _is_urdf(p)}
    if len(found) != 1:
        names = ", ".join(str(p) for p in sorted(found)) or "none"
        raise UserError(f"{folder} and its README name {len(found)} robots ({names}): give one with --robot URDF")
    return found.pop()


def _is_urdf(path: Path) -> bool:
    return path.suffix == ".urdf" and path.is_file()


def chosen_settings(data: Path, file: Path | None, robot: Path | None) -> Settings:
    """The settings in a file, or the preset ``photographs`` for the data set's robot; completed.

    Raises:
        UserError: if they are of no use, or would have the photographs in the renderings.
    """
    settings = toml_file.load(file) if file is not None else Settings(scene=SceneSettings(preset="photographs"))
    if robot is not None or file is None:
        settings = replace(settings, robot=RobotSettings(kind="urdf", path=str(robot or find_robot(data))))
    settings = completion.complete(settings, *completion.load_robots(settings))
    check_apart(data, settings)
    return settings


def check_apart(data: Path, settings: Settings) -> None:
    """Refuse settings by which the photographs would lie behind the renderings.

    Raises:
        UserError: naming the folder.
    """
    backgrounds = settings.augmentation.backgrounds
    if not backgrounds:
        return
    ours, theirs = data.resolve(), Path(backgrounds).resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours if ours.is_dir() else ours.parent):
        raise UserError(
            f"augmentation.backgrounds is {theirs}, where the photographs of {ours} are: nothing may be learned from "
            "these, so name another folder"
        )


# ------------------------------------------------------------------------------------------------------- the training


def command_line(*words: object) -> list[str]:
    """A command of this checkout's own ``robot-keypoints``."""
    return [sys.executable, str(LAUNCHER), "cli", *map(str, words)]


def train(folder: Path, settings: Settings, seed: int, minutes: float) -> dict[str, Any]:
    """A run of its own, with Blender workers; one that was cut short goes on.

    Returns:
        what it says of itself.
    """
    run = folder / RUN
    if (run / run_folder.SETTINGS).exists():
        command = command_line("train", "--resume", run, "--json")
    else:
        t = replace(settings.training, minutes=minutes, epochs=0, seed=seed)
        toml_file.save(replace(settings, training=t), folder / run_folder.SETTINGS)
        command = command_line("train", folder / run_folder.SETTINGS, "--out", run, "--json")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"the training of seed {seed} ended with {done.returncode}: see {run / run_folder.LOGS}")
    summary = json.loads(done.stdout)
    return {
        "images": summary["images_trained"],
        "minutes": round(summary["seconds"] / 60, 1),
        "renderings_mean": summary["mean_error_percent"],
        "renderings_median": summary["median_error_percent"],
        "stall_fraction": summary["stall_fraction"],
    }


def train_recorded(folder: Path, recording: Any, settings: Settings, seed: int, minutes: float) -> dict[str, Any]:
    """A training on a recording but for its last renderings, which the covariances are calibrated on; see
    :func:`train`.

    Args:
        recording: a :class:`.recording.Recording`.
    """
    from recorded_training import Course, held_out, never
    from robot_keypoints.trainer.evaluation import evaluate as evaluation, keypoint_metrics
    from robot_keypoints.trainer.networks import device, model_file

    # A recording does not tell where its cameras stood, which the loss of the pose would need.
    t = replace(settings.training, pose_weight=0.0, seed=seed, minutes=minutes, reuse=1000, fresh_share=0.25)
    settings = replace(settings, training=t)
    target = device.choose(t.device)
    course = Course(recording, settings, target, seed)
    engine = course.engine(pretrained=t.pretrained and t.network != "light")
    pipeline = course.pipeline(ahead=target.type == "cuda")
    begin = time.monotonic()
    images = course.steps(engine, pipeline, seconds=60 * minutes)
    took = (time.monotonic() - begin) / 60
    pipeline.close()
    tests, view = held_out(recording, settings), settings.input_size
    evaluation.learn_calibration(engine.average, tests, engine.precision, t.batch_size, never, view=view)
    found = evaluation.evaluate(engine.average, tests, engine.precision, t.batch_size, never, view=view)
    assert found is not None
    errors = keypoint_metrics.localisation(found.errors, course.info.keypoints)
    summary = {
        "images": images, "minutes": round(took, 1), "renderings_mean": errors.mean, "renderings_median": errors.median,
    }  # fmt: skip
    (folder / RUN).mkdir(exist_ok=True)
    info = replace(course.info, training=summary, calibration=engine.average.calibration)
    model_file.save_model(folder / RUN / run_folder.MODEL, engine.average.state_dict(), info)
    return summary


# ----------------------------------------------------------------------------------------------------- the photographs


def errors_on(model: Path, data: Path, report: Path | None = None, robot: Path | None = None) -> dict[str, Any]:
    """What ``evaluate`` says of a model on photographs, or ``failed`` with its reason.

    Args:
        report: file for its page.
        robot: URDF with shapes, by whose outline poses are solved once more.
    """
    page = () if report is None else ("--html", report)
    command = command_line("evaluate", model, "--data", data, "--json", *page)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        return {"failed": (done.stderr.strip().splitlines() or ["no reason"])[-1]}
    document: dict[str, Any] = json.loads(done.stdout)
    errors, pose = document["percent"], document["pose"]
    result = {
        "photographs": document["images"], "unreadable": len(document["unreadable"]),
        "mean": errors["mean"], "median": errors["median"],
        **{f"within_{limit}": share for limit, share in document["pck"].items()},
        "false_sure_share": document["confidence"]["false_sure_share"],
        "by_keypoint": {n: e["percent"]["median"] for n, e in document["per_keypoint"].items() if e["percent"]},
    }  # fmt: skip
    solved = pose is not None and pose["translation_metres"] is not None
    result["position_mm"] = 1000 * pose["translation_metres"]["median"] if solved else None
    result["orientation_degrees"] = pose["rotation_degrees"]["median"] if solved else None
    if solved and robot is not None:
        command = command_line("evaluate", model, "--data", data, "--robot", robot, "--outline", "--json")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"no poses by outlines: {done.stderr.strip()}", file=sys.stderr)
        else:
            outlined = json.loads(done.stdout)["pose"]
            result["outline_mm"] = 1000 * outlined["translation_metres"]["median"]
            result["outline_degrees"] = outlined["rotation_degrees"]["median"]
            result["outline_share"] = outlined["by_outline"] / outlined["images"]
    return result


# ----------------------------------------------------------------------------------------------------------- the table


def table(document: Mapping[str, Any]) -> list[str]:
    """A row for each seed, then their mean and standard deviation, as Markdown."""
    rows: Mapping[str, Mapping[str, Any]] = document["seeds"]
    lines = [
        f"{document['data']}, {document['source']}",
        "",
        "| seed | " + " | ".join(head for head, _ in COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for seed, row in rows.items():
        lines.append(f"| {seed} | " + " | ".join(_written(row.get(key)) for _, key in COLUMNS) + " |")
    lines += [f"| {seed} | failed: {row['failed']} |" for seed, row in rows.items() if "failed" in row]
    if len(rows) > 1:
        lines.append(
            "| all | " + " | ".join(_together([r.get(key) for r in rows.values()]) for _, key in COLUMNS) + " |"
        )
    return lines


def _written(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _together(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < 2:
        return _written(known[0] if known else None)
    return f"{statistics.mean(known):.3g} ± {statistics.stdev(known):.2g}"


def main() -> None:
    """Train and measure each seed in turn."""
    parser = argparse.ArgumentParser(description="Train on renderings alone, and measure on labelled photographs.")
    parser.add_argument("data", type=Path, help="images annotated as COCO keypoints or NDDS")
    parser.add_argument("--out", type=Path, required=True, help="folder for models, reports and the table")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of each training")
    parser.add_argument("--seeds", default="1", help="numbers, with commas between them")
    parser.add_argument("--settings", type=Path, help="what to train, instead of the preset photographs")
    parser.add_argument("--robot", type=Path, help="its URDF, instead of the one that DATA names")
    parser.add_argument("--recording", type=Path, help="renderings to train on, of recording.py")
    options = parser.parse_args()
    try:
        if not options.data.exists():
            raise UserError(f"There is no {options.data}: give the folder of labelled photographs")
        if not options.minutes > 0:
            raise UserError(f"--minutes is {options.minutes:g}: a training takes more than that")
        measure(options, [int(s) for s in options.seeds.split(",")])
    except UserError as problem:
        sys.exit(f"error: {problem}")


def measure(options: argparse.Namespace, seeds: Sequence[int]) -> None:
    """See the module's docstring.

    Raises:
        UserError: if anything that was given is of no use.
    """
    recording: Any = None
    if options.recording is not None:
        from recorded_training import HELD_OUT
        from robot_keypoints.trainer.datasets.recording import Recording

        recording = Recording.load(options.recording)
        if len(recording.images) <= HELD_OUT:
            raise UserError(
                f"{options.recording} has {len(recording.images):,} renderings, of which {HELD_OUT} are held out: "
                "record more of them"
            )
        given = recording.settings if options.settings is None else toml_file.load(options.settings)
        settings = replace(recording.settings, training=given.training, augmentation=given.augmentation)
        check_apart(options.data, settings)
    else:
        settings = chosen_settings(options.data, options.settings, options.robot)
    options.out.mkdir(parents=True, exist_ok=True)
    source = "live renderings" if recording is None else f"{len(recording.images):,} recorded renderings"
    document: dict[str, Any] = {
        "data": str(options.data), "robot": settings.robot.path, "preset": settings.scene.preset,
        "source": f"{source}, {options.minutes:g} minutes each", "seeds": {},
    }  # fmt: skip
    for seed in seeds:
        folder = options.out / f"seed-{seed}"
        folder.mkdir(exist_ok=True)
        kept = folder / "training.json"
        model = folder / RUN / run_folder.MODEL
        if not (kept.exists() and model.exists()):
            if recording is None:
                trained = train(folder, settings, seed, options.minutes)
            else:
                trained = train_recorded(folder, recording, settings, seed, options.minutes)
            files.write_json(kept, trained)
        trained = json.loads(kept.read_text(encoding="utf-8"))
        robot = Path(settings.robot.path) if settings.robot.kind == "urdf" else None
        found = errors_on(model, options.data, folder / REPORT, robot if robot is None or robot.is_file() else None)
        document["seeds"][str(seed)] = {**trained, **found}
        files.write_json(options.out / "photographs.json", document)
        files.write_text(options.out / "photographs.md", "\n".join(table(document)) + "\n")
    print("\n".join(table(document)))
    if any("failed" in row for row in document["seeds"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
