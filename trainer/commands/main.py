# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line ``robot-keypoints``.

Progress goes to stderr; ``--json`` prints one JSON object on stdout and nothing else, unless ``--progress`` asks for a
line of JSON about each step. Exit codes: 0 done, 2 a user's mistake (one line says which), 1 a fault, 130, 143 and 129
ended by Ctrl-C, SIGTERM and a terminal that hung up, 141 where the reader of the output has ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...core import builtin_models, run_folder
from ...core.errors import UserError, one_line
from ...core.names import free_name
from ...core.scene import presets
from ..inference import image_scales, model_argument
from ..inference.joint_deviations import DEVIATION
from . import terminal


def run() -> None:
    """The console's entry point."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    begun = time.monotonic()
    return terminal.guarded(lambda: _run(argv, begun))


def _run(argv: Sequence[str], begun: float) -> int:
    try:
        options = _options(argv)
    except SystemExit as usage:
        return int(usage.code or 0)
    commands = {
        "demo": _demo,
        "train": _train,
        "render": _render,
        "evaluate": _evaluate,
        "predict": _predict,
        "calibrate": _calibrate,
        "label": _label,
        "correct": _correct,
        "export": _export,
        "report": _report,
        "serve": _serve,
        "models": _models,
        "experiment": _experiment,
        "doctor": _doctor,
    }
    try:
        return commands[options.command](options, begun)
    except UserError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    except ImportError as problem:
        print(f"error: A library is missing ({problem}): run robot-keypoints doctor", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as problem:
        if terminal.of_output(problem):
            raise
        if isinstance(problem, OSError) and problem.errno in terminal.DENIED and problem.filename is not None:
            place = one_line(os.fsdecode(problem.filename))
            print(f"error: {place} can't be used ({problem.strerror}): choose another place", file=sys.stderr)
            return 2
        if _out_of_memory(problem):
            print(
                "error: There is not enough memory for this: use smaller images, a smaller batch or fewer --scales, "
                "or end other programs", file=sys.stderr,
            )  # fmt: skip
            return 2
        traceback.print_exc()
        return 1


def _out_of_memory(problem: Exception) -> bool:
    """Torch has a kind of its own for graphics cards, and only words for the CPU."""
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(problem, MemoryError) or (
        isinstance(problem, RuntimeError) and any(w in str(problem).lower() for w in words)
    )


def _options(argv: Sequence[str]) -> argparse.Namespace:
    if argv[:1] == ["serve"]:  # whose own parser takes all of its words, also a first one with dashes
        return argparse.Namespace(command="serve", rest=argv[1:])
    return _parser(argv).parse_args(list(argv))


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="robot-keypoints", description="Learn a robot's keypoints from its own renderings."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a UR10 from its URDF with two workers and feedback")
    demo.add_argument("--out", type=Path, help="folder of the run (default: runs/demo, or the next free name)")
    demo.add_argument("--minutes", type=float, help="how long it may take (default: 9.5)")
    demo.add_argument("--json", action="store_true", help="print the summary as JSON on stdout")

    train = commands.add_parser("train", help="train as a settings file says")
    train.add_argument("settings", type=Path, nargs="?", metavar="SETTINGS.toml")
    train.add_argument(
        "--from", dest="start_from", metavar="MODEL",
        help=f"start from this model's weights (fine-tuning): a file, or {builtin_models.names()}",
    )  # fmt: skip
    train.add_argument("--resume", type=Path, metavar="RUN", help="go on with an earlier run")
    train.add_argument("--out", type=Path, metavar="RUN", help="folder of the run (default: runs/NAME)")
    train.add_argument("--workers", type=int, metavar="N", help="number of Blender workers")
    train.add_argument(
        "--blender", default="", metavar="COMMAND",
        help="Blender to render with; once given, settings may name it as well",
    )  # fmt: skip
    train.add_argument("--json", action="store_true", help="print the summary as JSON on stdout")

    render = commands.add_parser("render", help="write a labelled data set, or a contact sheet")
    render.add_argument("source", type=Path, metavar="SETTINGS.toml", help="settings, or the folder of a run")
    render.add_argument("--count", type=int, metavar="N", help="number of samples")
    render.add_argument("--format", choices=("coco", "ndds"), help="COCO keypoints, or NDDS as DREAM reads it")
    render.add_argument("--out", type=Path, metavar="DIR", help="folder of the data set; going on works by itself")
    render.add_argument(
        "--seed", type=int, default=0, metavar="S", help="the same seed makes the same set (default: 0)"
    )
    render.add_argument("--workers", type=int, metavar="N", help="number of Blender workers")
    render.add_argument(
        "--preset", choices=tuple(presets.PRESETS), help="what varies, instead of what the settings say"
    )
    render.add_argument("--sheet", type=Path, metavar="FILE", help="draw pictures with their labels on one sheet")
    render.add_argument("--transparent", action="store_true", help="leave backgrounds and picture effects away")
    render.add_argument(
        "--blender", default="", metavar="COMMAND",
        help="Blender to render with; once given, settings may name it as well",
    )  # fmt: skip
    render.add_argument("--json", action="store_true", help="print a summary as JSON on stdout")
    _add_progress(render)
    render.add_argument("--lifeline", action="store_true", help="end when stdin closes")

    evaluate = commands.add_parser("evaluate", help="measure a model's errors on annotated images")
    model_argument.add(evaluate, argv)
    model_argument.add_decoder(evaluate)
    model_argument.add_scales(evaluate)
    evaluate.add_argument(
        "--data", type=Path, required=True, metavar="DIR",
        help="images annotated as COCO keypoints or NDDS, rendered or photographed; or a COCO file",
    )  # fmt: skip
    evaluate.add_argument("--html", type=Path, metavar="FILE", help="write a report for people: one page, all in it")
    evaluate.add_argument("--plot", type=Path, metavar="FILE", help="draw the errors (.png, .svg or .pdf)")
    evaluate.add_argument(
        "--reliability", type=Path, metavar="FILE", help="draw whether variances tell how far off keypoints are"
    )
    evaluate.add_argument(
        "--calibrate", type=Path, metavar="OUT.safetensors",
        help="write a copy of the model whose variances tell how far off it is on half of these images",
    )  # fmt: skip
    evaluate.add_argument("--robot", type=Path, metavar="URDF", help="measure poses of this robot, not the model's own")
    evaluate.add_argument("--joints-deviation", **DEVIATION)
    evaluate.add_argument("--outline", action="store_true", help="solve poses by the robot's outline as well")
    evaluate.add_argument(
        "--add-limit", type=float, metavar="METRES",
        help="up to which the area under the curve of the poses' ADD is taken (default: 0.1)",
    )  # fmt: skip
    evaluate.add_argument(
        "--raters", type=Path, nargs="+", default=(), metavar="FILE",
        help="several people's COCO files of the images in DIR (or a folder of these): measure against their mean, "
        "and tell how far they lie apart",
    )  # fmt: skip
    evaluate.add_argument(
        "--raters-plot", type=Path, metavar="FILE", help="draw on a photograph how far people lie apart (.png)"
    )
    evaluate.add_argument("--json", action="store_true", help="print the measures as JSON on stdout")
    _add_progress(evaluate)

    predict = commands.add_parser("predict", help="find keypoints in images")
    model_argument.add(predict, argv)
    predict.add_argument(
        "images", nargs="+", metavar="IMAGE", help="image, folder, pattern such as 'shots/*.png', video, or webcam:0"
    )
    predict.add_argument(
        "--overlay", type=Path, metavar="DIR", help="draw the keypoints on copies: .png of images, .mp4 of videos"
    )
    predict.add_argument("--out", type=Path, metavar="FILE", help="write a line of JSON for each picture at once")
    predict.add_argument("--frames", type=int, metavar="N", help="take N frames of a video or webcam at most")
    model_argument.add_decoder(predict)
    model_argument.add_scales(predict)
    predict.add_argument(
        "--peaks", type=int, default=0, metavar="N", help="tell N places of each keypoint at most, with their scores"
    )
    predict.add_argument(
        "--camera", metavar="fx,fy,cx,cy[,k1,k2,p1,p2,k3]",
        help="the images' intrinsics in pixels, OpenCV's: find the robot's pose as well",
    )  # fmt: skip
    predict.add_argument(
        "--camera-size", metavar="WxH", help="size of the pictures that --camera is of, where these have another"
    )
    predict.add_argument(
        "--joints", metavar="name=value,…|FILE", help="joints that are known, radians or metres; or a JSON file of them"
    )
    predict.add_argument("--joints-deviation", **DEVIATION)
    predict.add_argument(
        "--joints-by-image", type=Path, metavar="FILE",
        help="JSON, {image: {joint: value}}: all images are by one camera that rests, and place it together",
    )  # fmt: skip
    predict.add_argument("--robot", type=Path, metavar="URDF", help="the robot, where the model doesn't bring it")
    predict.add_argument(
        "--outline", action="store_true",
        help="go by the robot's outline in single pictures as well, for which --robot has to bring its shapes",
    )  # fmt: skip
    predict.add_argument("--json", action="store_true", help="print the predictions as JSON on stdout")

    calibrate = commands.add_parser("calibrate", help="say where cameras are, from a recording of the robot")
    calibrate.add_argument("footage", type=Path, metavar="FOOTAGE.toml", help="images, joint positions and markers")
    calibrate.add_argument("--robot", type=Path, metavar="URDF", help="the robot, instead of what FOOTAGE.toml says")
    calibrate.add_argument(
        "--model", type=builtin_models.resolve, metavar="MODEL", help="take its keypoints besides, or without markers"
    )
    calibrate.add_argument("--no-markers", action="store_true", help="leave the markers out, and go by --model alone")
    calibrate.add_argument(
        "--joints-deviation", metavar=DEVIATION["metavar"],
        help="standard deviation of the joints' offsets, which are then estimated as well",
    )  # fmt: skip
    calibrate.add_argument(
        "--out", type=Path, metavar="DIR", help="write JSON, ROS camera_info YAML and static transforms there"
    )
    calibrate.add_argument("--json", action="store_true", help="print the calibration as JSON on stdout")
    _add_progress(calibrate)

    label = commands.add_parser("label", help="label the images of a recording, from its markers or a model")
    label.add_argument("footage", type=Path, metavar="FOOTAGE.toml", help="images, joint positions and markers")
    label.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set, a new one")
    label.add_argument(
        "--format", choices=("coco", "ndds"), default="coco", help="COCO keypoints (default), or NDDS as DREAM reads it"
    )
    label.add_argument(
        "--method", choices=("marker", "forward", "backward", "smoother"), default="smoother",
        help="where a marker can't be relied on: leave the image out (marker), go by those before (forward) or after "
        "it (backward), or by both (smoother, default)",
    )  # fmt: skip
    label.add_argument("--robot", type=Path, metavar="URDF", help="the robot, instead of what FOOTAGE.toml says")
    label.add_argument(
        "--model", type=builtin_models.resolve, metavar="MODEL",
        help="without markers: label images that its keypoints confirm",
    )  # fmt: skip
    label.add_argument("--no-markers", action="store_true", help="leave the markers out, and go by --model alone")
    label.add_argument(
        "--joints-deviation", metavar=DEVIATION["metavar"],
        help="standard deviation of the joints' offsets (default: estimated)",
    )  # fmt: skip
    label.add_argument(
        "--most-deviation", type=float, metavar="PX",
        help="leave images out with a keypoint of a larger standard deviation (default: 1 %% of the diagonal)",
    )  # fmt: skip
    label.add_argument("--json", action="store_true", help="print a summary as JSON on stdout")
    _add_progress(label)

    correct = commands.add_parser("correct", help="label one frame as a person has posed the robot")
    correct.add_argument("data", type=Path, metavar="DIR", help="data set that label has written as COCO or NDDS")
    correct.add_argument("file", type=Path, metavar="FILE.json", help="the frame, T_cam_base and the joints' positions")

    export = commands.add_parser("export", help="write the network as ONNX for other runtimes, or a smaller model")
    model_argument.add(export, argv)
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument("--onnx", type=Path, metavar="FILE", help="write the network as ONNX")
    target.add_argument(
        "--half", type=Path, metavar="FILE", help="write the model with half-precision weights: half as large"
    )
    export.add_argument("--opset", type=int, default=18, metavar="N", help="ONNX's opset (default: 18)")

    report = commands.add_parser("report", help="tell what came of a run: one page, and how long each part takes")
    report.add_argument("run", type=Path, metavar="RUN", help="folder of a run: finished, going on or broken off")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the run's folder)")
    report.add_argument("--open", action="store_true", dest="opened", help="show the page in the browser")
    report.add_argument("--json", action="store_true", help="print the times as JSON on stdout")
    _add_progress(report)

    commands.add_parser("serve", help="keep a model loaded and answer over ZeroMQ", add_help=False)

    models = commands.add_parser("models", help="list the models that come along, with their errors")
    models.add_argument("--json", action="store_true", help="print the list as JSON on stdout")

    _add_experiment(commands)

    doctor = commands.add_parser("doctor", help="check that everything works, and say how to mend what does not")
    doctor.add_argument("--blender", default="", metavar="COMMAND", help="Blender to check instead of the bpy wheel")
    doctor.add_argument("--json", action="store_true", help="print the checks as JSON on stdout")
    _add_progress(doctor)
    return parser


def _add_experiment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    experiment = commands.add_parser("experiment", help="compare ways to train, many trainings each")
    kinds = experiment.add_subparsers(dest="experiment", required=True, metavar="EXPERIMENT")
    feedback = kinds.add_parser("feedback", help="pairs of trainings with feedback and without, on the same renderings")
    feedback.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="settings to render a pool from, a recording, or the folder of an experiment to go on with, or with --out "
        "to take the pool of",
    )
    feedback.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the experiment")
    feedback.add_argument("--jobs", type=int, default=1, metavar="J", help="trainings at a time (default: 1)")
    feedback.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="to train on")
    feedback.add_argument("--pairs", type=int, metavar="N", help="pairs of trainings (default: 30)")
    feedback.add_argument("--images", type=int, metavar="M", help="that each training learns from (default: 16000)")
    feedback.add_argument(
        "--every", type=int, metavar="K", help="images between two measurements and updates (default: 1000)"
    )
    feedback.add_argument("--batch", type=int, metavar="B", help="images of each step (default: 32)")
    feedback.add_argument(
        "--adaptive-share", type=float, dest="share", metavar="A",
        help="share of the images from the simulator that adapts (default: 0.5)",
    )  # fmt: skip
    feedback.add_argument("--rule", choices=("evidence", "selection", "renderings"), help="what moves the priors")
    feedback.add_argument(
        "--combinations", choices=("none", "pairs"), help="of variables, what evidence looks at (default: none)"
    )
    feedback.add_argument(
        "--exponent", type=float, metavar="P", help="how strongly losses move the priors, but by selection (default: 3)"
    )
    feedback.add_argument("--strength", type=float, metavar="S", help="weight of a sample, by selection (default: 1)")
    feedback.add_argument("--shrink", type=int, metavar="F", help="use images F times smaller (default: 1)")
    feedback.add_argument("--width", type=int, metavar="C", help="of the network (default: its own)")
    feedback.add_argument("--learning-rate", type=float, metavar="R", help="throughout (default: 0.002)")
    feedback.add_argument("--seed", type=int, metavar="N", help="of the first pair (default: 1)")
    feedback.add_argument(
        "--renderings", type=int, default=6000, metavar="R", help="of a pool that is rendered (default: 6000)"
    )
    feedback.add_argument("--workers", type=int, metavar="W", help="number of Blender workers for that")
    feedback.add_argument("--blender", default="", metavar="COMMAND", help="Blender to render with")
    feedback.add_argument("--trainings", default="", help=argparse.SUPPRESS)
    feedback.add_argument("--json", action="store_true", help="print the summary as JSON on stdout")


def _add_progress(command: argparse.ArgumentParser) -> None:
    command.add_argument("--progress", action="store_true", help="say how far it is as lines of JSON on stdout")


def _demo(options: argparse.Namespace, begun: float) -> int:
    from . import demo, run_display

    minutes = options.minutes if options.minutes is not None else demo.MINUTES
    if not 0.25 <= minutes <= 100000:
        raise UserError(f"--minutes is {minutes:g}: a demonstration needs at least 0.25")
    out = _free_folder(options.out or Path("runs", "demo"))
    if (trained := builtin_models.models().get("ur10")) is not None:
        print(f"a model that was trained for longer is there already: {trained.file}", file=sys.stderr)
    # The processes' own start and end are part of the time that was promised.
    settings, robot = demo.settings(max(0.1, minutes - (time.monotonic() - begun + 3.0) / 60))
    return run_display.follow(out, settings, robot=robot, as_json=options.json)


def _train(options: argparse.Namespace, begun: float) -> int:
    from ...core.input_files import read_toml
    from ...core.settings import toml_file
    from ..datasets.render_workers import chosen_blender
    from . import run_display, training_settings

    if (options.resume is None) == (options.settings is None):
        raise UserError("train needs either SETTINGS.toml or --resume RUN: give one of them")
    if options.resume is not None:
        if options.out is not None:
            raise UserError("--out can't be given with --resume: a resumed run stays in its own folder")
        if options.start_from is not None:
            raise UserError("--from can't be given with --resume: a resumed run goes on from its own weights")
        if not (options.resume / run_folder.SETTINGS).is_file():
            raise UserError(f"There is no run in {options.resume}: give the folder that holds its settings.toml")
    path = options.settings if options.resume is None else options.resume / run_folder.SETTINGS
    settings = toml_file.load(path)
    if options.workers is not None:
        if not 1 <= options.workers <= 256:
            raise UserError(f"--workers is {options.workers}: it must be between 1 and 256")
        adaptive = min(settings.workers.adaptive, options.workers)
        settings = replace(settings, workers=replace(settings.workers, count=options.workers, adaptive=adaptive))
    command = chosen_blender(settings, options.blender)
    settings = replace(settings, workers=replace(settings.workers, blender=command))
    if options.resume is not None:
        rewrite = options.workers is not None or bool(options.blender)
        return run_display.follow(options.resume, settings, resume=True, rewrite=rewrite, as_json=options.json)
    if options.start_from is not None:
        word = os.path.abspath(options.start_from) if os.path.isfile(options.start_from) else options.start_from
        settings = replace(settings, training=replace(settings.training, start_from=word))
    settings, robot = training_settings.completed(settings, read_toml(path, "choose another settings file"))
    if options.out is not None and (options.out / run_folder.SETTINGS).exists():
        raise UserError(f"There is a run in {options.out} already: choose another --out, or --resume it")
    out = options.out or _free_folder(Path("runs", path.stem))
    return run_display.follow(out, settings, robot=robot, as_json=options.json)


def _render(options: argparse.Namespace, begun: float) -> int:
    from . import render as render_command

    render_options = render_command.RenderOptions(
        source=options.source, count=options.count, format=options.format, out=options.out, seed=options.seed,
        workers=options.workers, preset=options.preset, sheet=options.sheet, transparent=options.transparent,
        blender=options.blender,
    )  # fmt: skip
    return render_command.render(
        render_options, as_json=options.json, progress=options.progress, lifeline=options.lifeline
    )


def _evaluate(options: argparse.Namespace, begun: float) -> int:
    from . import evaluate as evaluate_command

    evaluate_options = evaluate_command.EvaluateOptions(
        model=options.model, data=options.data, people=options.raters, html=options.html, plot=options.plot,
        raters_plot=options.raters_plot,
        reliability=options.reliability, calibrate=options.calibrate, robot=options.robot, add_limit=options.add_limit,
        joints_deviation=options.joints_deviation, outline=options.outline, decoder=options.decoder,
        scales=image_scales.parse(options.scales),
    )  # fmt: skip
    return evaluate_command.evaluate(evaluate_options, as_json=options.json, progress=options.progress)


def _predict(options: argparse.Namespace, begun: float) -> int:
    from ..inference import camera_size
    from . import predict as predict_command

    predict_options = predict_command.PredictOptions(
        model=options.model, images=options.images, overlay=options.overlay, out=options.out, frames=options.frames,
        scales=image_scales.parse(options.scales), peaks=options.peaks,
        camera=options.camera, joints=options.joints, robot=options.robot, joints_by_image=options.joints_by_image,
        joints_deviation=options.joints_deviation, outline=options.outline, decoder=options.decoder,
        camera_size=None if options.camera_size is None else camera_size.parse_size(options.camera_size),
    )  # fmt: skip
    return predict_command.predict(predict_options, as_json=options.json)


def _calibrate(options: argparse.Namespace, begun: float) -> int:
    from . import calibrate as calibrate_command

    calibrate_options = calibrate_command.CalibrateOptions(
        footage=options.footage, robot=options.robot, model=options.model, markers=not options.no_markers,
        out=options.out,
        joints_deviation=options.joints_deviation,
    )  # fmt: skip
    return calibrate_command.calibrate(calibrate_options, as_json=options.json, progress=options.progress)


def _label(options: argparse.Namespace, begun: float) -> int:
    from . import label as label_command

    label_options = label_command.LabelOptions(
        footage=options.footage, out=options.out, model=options.model, markers=not options.no_markers,
        format=options.format, method=options.method, robot=options.robot,
        joints_deviation=options.joints_deviation, most=options.most_deviation,
    )  # fmt: skip
    return label_command.label(label_options, as_json=options.json, progress=options.progress)


def _correct(options: argparse.Namespace, begun: float) -> int:
    from . import correct as correct_command

    return correct_command.correct(options.data, options.file)


def _export(options: argparse.Namespace, begun: float) -> int:
    if options.half is not None:
        from . import export_half

        return export_half.export_half(options.model, options.half)
    from . import export as export_command

    return export_command.export(options.model, options.onnx, options.opset)


def _report(options: argparse.Namespace, begun: float) -> int:
    from . import report as report_command

    return report_command.report(
        options.run, options.out, opened=options.opened, as_json=options.json, progress=options.progress
    )


def _serve(options: argparse.Namespace, begun: float) -> int:
    from ..inference import server

    return server.main(options.rest)


def _models(options: argparse.Namespace, begun: float) -> int:
    from . import models

    return models.report(as_json=options.json)


def _experiment(options: argparse.Namespace, begun: float) -> int:
    from . import experiment

    names = (
        "pairs", "images", "every", "batch", "share", "rule", "combinations", "exponent", "strength", "shrink", "width",
        "learning_rate", "seed",
    )  # fmt: skip
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    experiment_options = experiment.ExperimentOptions(
        source=options.source, out=options.out, jobs=options.jobs, device=options.device, given=given,
        renderings=options.renderings, workers=options.workers, blender=options.blender,
        trainings=tuple(int(place) for place in options.trainings.split(",") if place),
    )  # fmt: skip
    return experiment.run(experiment_options, as_json=options.json)


def _doctor(options: argparse.Namespace, begun: float) -> int:
    from . import doctor

    return doctor.report(options.blender, as_json=options.json, progress=options.progress)


def _free_folder(folder: Path) -> Path:
    """``folder``, or the first of ``folder-2``, ``folder-3`` … that holds no run."""
    parent = folder.parent
    return parent / free_name(folder.name, lambda n: (parent / n / run_folder.SETTINGS).exists(), separator="-")
