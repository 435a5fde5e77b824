# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose trainer and workers are small programs."""

from __future__ import annotations

import sys
from pathlib import Path

from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.processes.session import Session
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import Settings, WorkerSettings

FAKE = """
import json, os, sys, threading, time
from pathlib import Path
from typing import Any

words = sys.argv[3:] if sys.argv[1] == "--threads" else sys.argv[1:]
role, arguments = words[0], words[1:]
run = Path(arguments[arguments.index("--run") + 1])
mode = os.environ.get("FAKE", "").split(",")

def note(kind, **content):
    with open(run / "told.jsonl", "a") as stream:
        stream.write(json.dumps({"kind": kind, "pid": os.getpid(), "arguments": arguments, **content}) + chr(10))

note(role)
print("a line of", role, flush=True)
if role + " warns" in mode:
    print("warning: there is no milk", flush=True)
if role + " fails" in mode:
    print("error: the", role, "has no bread", file=sys.stderr)
    sys.exit(2)
if role + " faults" in mode:
    raise RuntimeError("the milk is spilt")
if role == "scene":
    print("warning: the bread is stale", file=sys.stderr)
    (run / "scene.blend").write_bytes(b"BLENDER-v405ENDB")
    sys.exit(0)

from robot_keypoints.core.processes.lifeline import end_with_parent

ended = threading.Event()
end_with_parent(ended.set)

if role == "worker":
    index = arguments[arguments.index("--index") + 1]
    (run / ("delivering " + index)).touch()
    while "deaf" in mode or not ended.is_set():
        if (run / ("die " + index)).exists():
            (run / ("die " + index)).unlink()
            print("worker", index, "was told to die", flush=True)
            os._exit(7)
        time.sleep(0.02)
    sys.exit(0)

from robot_keypoints.core.messages.run_sockets import Hub
from robot_keypoints.core.messages.events import Posterior, encode_event
from robot_keypoints.core.messages.envelope import parse

identity = arguments[arguments.index("--identity") + 1]
hub = Hub("127.0.0.1", 0)
e = hub.endpoints
ready = run / "logs" / "trainer.json"
(run / "logs" / "t").write_text(json.dumps({"run": identity, "host": e.host, "ports": [e.samples, e.news, e.control]}))
if "mute" not in mode:
    os.replace(run / "logs" / "t", ready)
step = 0
paused = False
while not ended.is_set() or "deaf" in mode:
    time.sleep(0.05)
    step += 0 if paused else 1
    rates = {str(i): 20.0 for i in range(8) if (run / ("delivering " + str(i))).exists()}
    hub.news.send_multipart([b"posterior", Posterior(step, {"joint/elbow_joint": (1.0, 1.0 + step)}).encode(identity)])
    phase = "paused" if paused else "training"
    state = encode_event(identity, ("state", {"phase": phase, "message": "all is well"}))
    hub.news.send_multipart([b"event", state])
    progress = encode_event(identity, ("progress", {"step": step, "steps_per_second": 9.0, "workers": rates}))
    hub.news.send_multipart([b"event", progress])
    if "nonsense" in mode:
        for content in ({"workers": 3, "steps_per_second": "fast"}, {"workers": {"0": None}}, {"phase": ["training"]},
                        {"workers": {"0": "x"}, "steps_per_second": None}, {"message": {"a": 1}, "phase": 3}):
            for kind in ("progress", "state", "metrics", "unheard of"):
                hub.news.send_multipart([b"event", encode_event(identity, (kind, content))])
    while hub.control.poll(0):
        who, empty, request = hub.control.recv_multipart()
        kind = parse(request)["type"]
        note("command", command=kind)
        paused = {"pause": True, "resume": False}.get(kind, paused)
        if kind == "stop" and "deaf" not in mode:
            (run / "summary.json").write_text("{}")
            sys.exit(0)
    if (run / "finish").exists():
        (run / "summary.json").write_text("{}")
        sys.exit(0)
"""


def started(folder: Path, *modes: str, workers: int = 2, resume: bool = False) -> Session:
    """A running session whose processes are FAKE ones."""
    fake = folder / "fake.py"
    folder.mkdir(parents=True, exist_ok=True)
    fake.write_text(FAKE, encoding="utf-8")
    settings = complete(Settings(workers=WorkerSettings(workers, 1)), load_urdf(builtin_urdf()))
    command = (sys.executable, str(fake))
    session = Session(
        folder / "run", settings, Programs(command, command, {"FAKE": ",".join(modes)}), resume=resume
    )  # fmt: skip
    session.start()
    return session
