# SPDX-License-Identifier: GPL-3.0-or-later
"""Life and death of a run's processes, with small programs in the places of trainer and workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_run import FAKE, started
from robot_keypoints.core.errors import UserError
from robot_keypoints.core.files import last_lines
from robot_keypoints.core.processes import session as module
from robot_keypoints.core.processes.child_process import Child
from robot_keypoints.core.processes.programs import Programs
from robot_keypoints.core.processes.run_status import Phase, Status
from robot_keypoints.core.processes.session import Session
from robot_keypoints.core.robot.urdf_reader import builtin_urdf, load_urdf
from robot_keypoints.core.settings.completion import complete
from robot_keypoints.core.settings.schema import FeedbackSettings, RobotSettings, Settings, WorkerSettings
from robot_keypoints.trainer.commands.run_display import Display

posix = pytest.mark.skipif(os.name != "posix", reason="uses POSIX signals")
PATIENCE = 30.0
"""Seconds after which something that must happen is taken to have failed."""

PARENT = """
import sys, time
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[2])
from fake_run import started
session = started(Path(sys.argv[1]))
while True:
    session.poll()
    time.sleep(0.02)
"""


def told(folder: Path, kind: str) -> list[dict]:
    try:
        lines = (folder / "run" / "told.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [d for d in map(json.loads, lines) if d["kind"] == kind]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not yet collected by its parent does not."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z" if stat.parent.parent.exists() else True
    except OSError:
        return False


def poll_until(session: Session, condition: Callable[[Status], bool], seconds: float = PATIENCE) -> Status:
    end = time.monotonic() + seconds
    while not condition(session.poll()):
        assert time.monotonic() < end, f"waited in vain; the session is {session.status}"
        time.sleep(0.02)
    return session.status


def rendering(status: Status) -> bool:
    return [p.state for n, p in status.processes.items() if n.startswith("worker")] == ["rendering"] * 2


def pids(session: Session) -> list[int]:
    return [p.pid for p in session.status.processes.values()]


@pytest.fixture
def cleanup() -> Iterator[list[Session]]:
    sessions: list[Session] = []
    yield sessions
    for session in sessions:
        session.abandon()


def test_a_run_from_start_to_done(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    assert session.status.phase is Phase.STARTING
    status = poll_until(session, rendering)
    assert status.phase is Phase.TRAINING and status.message == "all is well"
    assert status.processes["trainer"].rate == 9.0 and status.processes["worker 1"].rate == 20.0
    assert [status.processes[f"worker {i}"].adapts for i in (1, 2)] == [False, True]
    assert status.version > 0 and status.concentrations["joint/elbow_joint"] == (1.0, 1.0 + status.version)
    version = status.version
    poll_until(session, lambda s: s.version > version)
    arguments = {
        int(d["arguments"][d["arguments"].index("--index") + 1]): d["arguments"] for d in told(tmp_path, "worker")
    }
    assert "--adaptive" not in arguments[0] and "--adaptive" in arguments[1]
    trainer = told(tmp_path, "trainer")[0]["arguments"]
    assert "--resume" not in trainer and session.run_id in trainer
    running = pids(session)
    (tmp_path / "run" / "finish").touch()
    status = poll_until(session, lambda s: s.phase.over)
    assert (status.phase, status.reason, status.message) == (Phase.DONE, "", "done")
    assert not any(alive(pid) for pid in running)
    assert session.poll().phase is Phase.DONE


def test_feedback_off_means_no_worker_adapts(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    session.abandon()
    off = complete(Settings(feedback=FeedbackSettings(enabled=False)), load_urdf(builtin_urdf()))
    session = Session(tmp_path / "run2", off, session.programs)
    cleanup.append(session)
    session.start()
    poll_until(session, rendering)
    assert not any(p.adapts for p in session.status.processes.values())


def test_pause_and_resume(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    session.pause()  # nobody is there yet: nothing happens
    poll_until(session, rendering)
    session.pause()
    poll_until(session, lambda s: s.phase is Phase.PAUSED)
    session.resume_training()
    poll_until(session, lambda s: s.phase is Phase.TRAINING)
    assert [d["command"] for d in told(tmp_path, "command")] == ["pause", "resume"]


def test_a_worker_that_dies_is_started_again(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    before = poll_until(session, rendering).processes["worker 2"].pid
    (tmp_path / "run" / "delivering 1").unlink()
    (tmp_path / "run" / "die 1").touch()
    status = poll_until(session, lambda s: s.processes["worker 2"].restarts == 1)
    assert status.notices == ["worker 2 ended with exit code 7 and was started again (1×)"]
    status = poll_until(session, rendering)
    worker = status.processes["worker 2"]
    assert worker.pid != before and alive(worker.pid) and not alive(before)
    again = told(tmp_path, "worker")[-1]["arguments"]
    assert again[again.index("--restarts") + 1] == "1" and "--adaptive" in again
    assert status.phase is Phase.TRAINING and status.processes["worker 1"].restarts == 0


@posix
def test_a_killed_worker_is_started_again(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    poll_until(session, rendering)
    os.kill(session.status.processes["worker 1"].pid, signal.SIGKILL)
    poll_until(session, lambda s: s.processes["worker 1"].restarts == 1)
    assert poll_until(session, rendering).phase is Phase.TRAINING


def test_workers_that_only_die_end_the_run_with_their_last_words(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path, "worker faults")
    cleanup.append(session)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and "RuntimeError: the milk is spilt" in status.reason
    assert "worker" in status.reason and ".log" in status.reason
    starts = [d["arguments"][d["arguments"].index("--index") + 1] for d in told(tmp_path, "worker")]
    assert max(starts.count("0"), starts.count("1")) == module.RESTARTS
    assert not any(alive(pid) for pid in pids(session))


def test_a_worker_with_a_users_mistake_ends_the_run_at_once(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path, "worker fails")
    cleanup.append(session)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and "error: the worker has no bread" in status.reason
    assert len(told(tmp_path, "worker")) <= 2


@posix
def test_the_trainers_death_ends_the_workers_and_says_why(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    poll_until(session, rendering)
    running = pids(session)
    os.kill(session.status.processes["trainer"].pid, signal.SIGKILL)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED
    assert "the trainer ended unexpectedly" in status.reason and "a line of trainer" in status.reason
    assert not any(alive(pid) for pid in running)


@pytest.mark.parametrize("mode, words", [("trainer fails", "has no bread"), ("trainer faults", "milk is spilt")])
def test_a_trainer_that_cannot_start(tmp_path: Path, cleanup: list[Session], mode: str, words: str) -> None:
    session = started(tmp_path, mode)
    cleanup.append(session)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and words in status.reason and not told(tmp_path, "worker")


@pytest.mark.parametrize("mode", ["scene fails", "scene faults"])
def test_a_scene_that_cannot_be_built(tmp_path: Path, cleanup: list[Session], mode: str) -> None:
    session = started(tmp_path, mode)
    cleanup.append(session)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and "the scene could not be built" in status.reason
    assert ("no bread" in status.reason) == (mode == "scene fails")
    assert not told(tmp_path, "worker") and not any(alive(pid) for pid in pids(session))


def test_what_the_scenes_builder_warns_of_is_told(
    tmp_path: Path, cleanup: list[Session], capsys: pytest.CaptureFixture[str]
) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    status = poll_until(session, rendering)
    assert status.warnings == ["the bread is stale"]
    display = Display()
    display.show(status)
    display.show(status)
    assert capsys.readouterr().err.count("warning: the bread is stale\n") == 1


def test_deadlines(tmp_path: Path, cleanup: list[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRAINER_DEADLINE", 0.2)
    session = started(tmp_path, "mute")
    cleanup.append(session)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and "the trainer was not ready within 0 s" in status.reason
    assert not any(alive(pid) for pid in pids(session))


def test_stop_keeps_what_was_learnt(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    poll_until(session, rendering)
    running = pids(session)
    session.stop()
    session.stop()
    status = poll_until(session, lambda s: s.phase.over, 10.0)
    assert (status.phase, status.reason) == (Phase.STOPPED, "")
    assert (tmp_path / "run" / "summary.json").exists()
    assert not any(alive(pid) for pid in running)
    assert [d["command"] for d in told(tmp_path, "command")] == ["stop"]


def test_stop_ends_processes_that_do_not_listen(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path, "deaf")
    cleanup.append(session)
    poll_until(session, rendering)
    running = pids(session)
    session.stop()
    assert poll_until(session, lambda s: s.phase.over, 10.0).phase is Phase.STOPPED
    assert not any(alive(pid) for pid in running)


def test_stop_before_anything_is_ready(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    running = pids(session)
    session.stop()
    assert poll_until(session, lambda s: s.phase.over, 10.0).phase is Phase.STOPPED
    assert not any(alive(pid) for pid in running) and not told(tmp_path, "worker")


def test_resuming_a_run(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    poll_until(session, rendering)
    session.stop()
    poll_until(session, lambda s: s.phase.over)
    (tmp_path / "run" / "settings.toml").write_text("# by hand\n", encoding="utf-8")
    again = started(tmp_path, resume=True)
    cleanup.append(again)
    assert again.run_id != session.run_id
    poll_until(again, rendering)
    assert "--resume" in told(tmp_path, "trainer")[-1]["arguments"]
    assert len(told(tmp_path, "scene")) == 1, "the scene was built anew"
    assert (tmp_path / "run" / "settings.toml").read_text() == "# by hand\n"


def test_what_an_earlier_trainer_left_is_not_taken_for_a_living_one(tmp_path: Path, cleanup: list[Session]) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    stale = {"run": "older", "host": "127.0.0.1", "ports": [1, 2, 3]}
    (tmp_path / "run" / "logs" / "trainer.json").write_text(json.dumps(stale))
    session = started(tmp_path)
    cleanup.append(session)
    assert poll_until(session, rendering).phase is Phase.TRAINING


def test_news_without_sense_harm_nothing(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path, "nonsense")
    cleanup.append(session)
    poll_until(session, lambda s: s.version > 20)
    assert session.status.phase is Phase.TRAINING
    assert all(isinstance(p.rate, float) for p in session.status.processes.values())


@posix
def test_sigkill_of_the_parent_leaves_nothing(tmp_path: Path) -> None:
    parent_code = tmp_path / "parent.py"
    parent_code.write_text(PARENT, encoding="utf-8")
    here = str(Path(__file__).resolve().parents[3] / "support")
    with subprocess.Popen([sys.executable, str(parent_code), str(tmp_path), here]) as parent:
        end = time.monotonic() + PATIENCE
        while not (len(told(tmp_path, "worker")) == 2 and (tmp_path / "run" / "delivering 1").exists()):
            assert time.monotonic() < end and parent.poll() is None
            time.sleep(0.05)
        children = [d["pid"] for kind in ("trainer", "worker") for d in told(tmp_path, kind)]
        assert len(children) == 3 and all(alive(pid) for pid in children)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        end = time.monotonic() + 5.0
        while any(alive(pid) for pid in children):
            assert time.monotonic() < end, "a process outlives its parent by more than five seconds"
            time.sleep(0.05)


def test_programs_that_do_not_exist(tmp_path: Path) -> None:
    for blender in ("/no/such/blender", "blender-of-nowhere --background", "''"):
        with pytest.raises(UserError) as refusal:
            Programs.with_python(sys.executable, blender)
        assert "Blender" in str(refusal.value) and "\n" not in str(refusal.value)
    python = Programs.with_python("/no/such/python")
    session = Session(tmp_path / "run", complete(Settings(), load_urdf(builtin_urdf())), python)
    with pytest.raises(UserError) as refusal:
        session.start()
    assert "/no/such/python can't be started" in str(refusal.value) and "\n" not in str(refusal.value)
    assert session.status.phase.over


def test_an_unbalanced_quote_in_the_blender_command_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Blender"):
        Programs.with_python(sys.executable, 'blender "unfinished')


def test_a_blender_command_gets_the_extensions_own_command() -> None:
    programs = Programs.with_python("python", f"'{sys.executable}' --factory-startup")
    assert programs.blender == (
        sys.executable, "--factory-startup", "--background", "--command", "robot_keypoints",
    )  # fmt: skip
    assert programs.trainer[0] == "python" and Path(programs.trainer[1]).name == "launch.py"
    assert Programs.with_python("python").blender == programs.trainer


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="choose another") as refusal:
        Session(tmp_path / "file" / "run", Settings(), Programs((), ()))
    assert "\n" not in str(refusal.value)


# -------------------------------------------------------------------------------------------------------- children

CHILD = """
import sys, threading, time
from robot_keypoints.core.processes.lifeline import end_with_parent
ended = threading.Event()
end_with_parent(ended.set, grace=0.5)
print("ready", flush=True)
{}
"""


def child(tmp_path: Path, body: str) -> Child:
    code = CHILD.format(textwrap.dedent(body))
    started_child = Child("child", [sys.executable, "-c", code], tmp_path / "logs" / "child.log")
    end = time.monotonic() + PATIENCE
    while "ready" not in started_child.last_words():
        assert time.monotonic() < end and started_child.exit_code is None
        time.sleep(0.02)
    return started_child


def test_a_child_notices_that_its_lifeline_is_cut(tmp_path: Path) -> None:
    it = child(tmp_path, "ended.wait()\nprint('bye', flush=True)")
    assert it.exit_code is None and it.age > 0
    it.let_go()
    assert it.wait(PATIENCE) and it.exit_code == 0 and it.last_words() == ["ready", "bye"]
    it.let_go()
    it.kill()


def test_a_child_that_does_not_care_is_ended_all_the_same(tmp_path: Path) -> None:
    it = child(tmp_path, "while True: time.sleep(1)")
    it.let_go()
    assert it.wait(PATIENCE) and it.exit_code == 3


def test_kill(tmp_path: Path) -> None:
    it = child(tmp_path, "while True: time.sleep(1)")
    assert not it.wait(0.05)
    it.kill()
    assert it.exit_code not in (None, 0) and not alive(it.pid)


def test_last_words_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("".join(f"line {i}\n" for i in range(20000)) + "\n\n  \n", encoding="utf-8")
    assert last_lines(log, 2) == ["line 19998", "line 19999"]
    assert last_lines(tmp_path / "absent.log", 2) == []
    log.write_bytes(b"caf\xe9 \xff\n" * 3)
    assert len(last_lines(log, 6)) == 3


@posix
def test_ctrl_c_reaches_the_parent_alone(tmp_path: Path) -> None:
    it = child(tmp_path, "ended.wait()")
    assert os.getpgid(it.pid) != os.getpgid(0)
    it.kill()


def test_workers_keep_to_their_threads() -> None:
    wheel = Programs(("python", "launch.py"), ("python", "launch.py"))
    assert wheel.worker(2) == ["python", "launch.py", "--threads", "2"]
    blender = Programs(("python",), ("/opt/blender", "--background", "--command", "robot_keypoints"))
    assert blender.worker(1) == ["/opt/blender", "--threads", "1", *blender.blender[1:]]


def test_a_run_that_is_running_is_not_resumed(tmp_path: Path, cleanup: list[Session]) -> None:
    session = started(tmp_path)
    cleanup.append(session)
    poll_until(session, rendering)
    before = (tmp_path / "run" / "settings.toml").stat().st_mtime_ns
    with pytest.raises(UserError, match="Another process is writing to"):
        started(tmp_path, resume=True)
    assert (tmp_path / "run" / "logs" / "trainer.json").exists()
    assert (tmp_path / "run" / "settings.toml").stat().st_mtime_ns == before
    assert session.poll().phase is Phase.TRAINING and len(told(tmp_path, "trainer")) == 1
    session.stop()
    poll_until(session, lambda s: s.phase.over)
    again = started(tmp_path, resume=True)
    cleanup.append(again)
    poll_until(again, rendering)


@posix
def test_a_killed_front_end_leaves_nothing_locked(tmp_path: Path, cleanup: list[Session]) -> None:
    line = [sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parents[3] / "support")]
    with subprocess.Popen(line) as parent:
        end = time.monotonic() + PATIENCE
        while not told(tmp_path, "worker"):
            assert time.monotonic() < end
            time.sleep(0.02)
        parent.kill()
    again = started(tmp_path, resume=True)
    cleanup.append(again)
    poll_until(again, rendering)


def test_a_scene_that_is_cut_off_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scene.blend").write_bytes(b"BLENDER-v405")
    with pytest.raises(UserError, match="cut off or damaged: put a whole one in its place, or remove it"):
        started(tmp_path)
    assert not told(tmp_path, "trainer")


OBSTRUCTION = {"draws": 16, "unseen": 0, "objects": {"Crate": 9}, "left_out": ["Cube"]}


def own_scene(folder: Path, found: dict, cleanup: list[Session], **options: bool) -> Session:
    """A run that starts with a scene of the user's own, which the fake scene process looks at."""
    run = folder / "run"
    run.mkdir(parents=True)
    (run / "scene.blend").write_bytes(b"BLENDER-v405ENDB")
    (run / "obstruction.json").write_text(json.dumps(found), encoding="utf-8")
    fake = folder / "fake.py"
    fake.write_text(FAKE, encoding="utf-8")
    complete_ones = complete(Settings(workers=WorkerSettings(2, 1)), load_urdf(builtin_urdf()))
    settings = replace(complete_ones, robot=RobotSettings("armature", "scene.blend", "ur10"))
    command = (sys.executable, str(fake))
    session = Session(run, settings, Programs(command, command), **options)
    cleanup.append(session)
    session.start()
    return session


def test_a_scene_of_the_users_own_is_looked_at_first(tmp_path: Path, cleanup: list[Session]) -> None:
    session = own_scene(tmp_path, OBSTRUCTION, cleanup)
    assert session.status.message == "looking at the scene"
    status = poll_until(session, rendering)
    assert len(told(tmp_path, "scene")) == 1 and status.obstruction.objects == {"Crate": 9}
    cube, crate = status.obstruction.sentences()
    assert cube == "Cube, untouched since Blender's start-up, is left out of the renderings"
    assert crate.startswith("Crate hides the robot in 9 of 16 draws: disable it in renders, or")


def test_a_training_that_would_never_see_its_robot_ends(tmp_path: Path, cleanup: list[Session]) -> None:
    session = own_scene(tmp_path, {**OBSTRUCTION, "unseen": 16, "objects": {"Crate": 16}}, cleanup)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and not told(tmp_path, "worker")
    assert status.reason.startswith("error: Crate: none of 16 draws shows anything of the robot: "), status.reason


@pytest.mark.parametrize("document", [[], {}, {**OBSTRUCTION, "objects": 3}, {**OBSTRUCTION, "draws": None}])
def test_a_look_that_can_t_be_read_ends_the_run_in_a_sentence(
    tmp_path: Path, cleanup: list[Session], document: Any
) -> None:
    session = own_scene(tmp_path, document, cleanup)
    status = poll_until(session, lambda s: s.phase.over)
    assert status.phase is Phase.FAILED and "can't be read" in status.reason


def test_a_run_that_goes_on_is_not_looked_at_again(tmp_path: Path, cleanup: list[Session]) -> None:
    session = own_scene(tmp_path, OBSTRUCTION, cleanup, resume=True)
    poll_until(session, rendering)
    assert not told(tmp_path, "scene")


def test_what_a_worker_warns_of_is_a_notice_once_and_of_this_sitting(tmp_path: Path, cleanup: list[Session]) -> None:
    (tmp_path / "run" / "logs").mkdir(parents=True)
    log = tmp_path / "run" / "logs" / "worker 1.log"
    log.write_text("warning: an earlier sitting had no milk\n", encoding="utf-8")
    session = started(tmp_path, "worker warns")
    cleanup.append(session)
    poll_until(session, rendering)
    assert poll_until(session, lambda s: bool(s.notices)).notices == ["there is no milk"]
