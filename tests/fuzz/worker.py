# SPDX-License-Identifier: GPL-3.0-or-later
"""Tries cases of one subject in a process that may be broken: its memory and each case's processor time are bounded.

    python worker.py SUBJECT SEED FOLDER --first 1234 --count 1     one case again

``FOLDER/case`` holds the case that is being tried, ``FOLDER/faults/NUMBER`` each kind of fault's first case with its
``fault.txt``, ``FOLDER/state.json`` how far it is. Cases are numbered, and follow from the seed and their number alone;
the first ones are what the subject begins with, as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

SUPPORT = Path(__file__).resolve().parents[1] / "support"
sys.path.insert(1, str(SUPPORT))
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # inputs are small: threads only wait for one another

import mutations  # noqa: E402 - the folder of what the tests share was not known before
import subjects  # noqa: E402
from subjects import Seed, Subject  # noqa: E402

PROCESSOR_SECONDS = 20
"""For one case. The valid ones take a hundredth of it, and other processes do not count."""

MEGABYTES = 1536
"""For one case, besides what the process has when it begins."""

LONGEST_SENTENCE = 1000


def main() -> int:
    """0 when all cases were tried, whatever came of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("subject")
    parser.add_argument("seed", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1 << 60)
    parser.add_argument("--seconds", type=float, default=1e9, help="for all cases")
    parser.add_argument("--processor", type=int, default=PROCESSOR_SECONDS, help="seconds for one case")
    options = parser.parse_args()
    folder: Path = options.folder
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    log = open(folder / "crash.txt", "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    faulthandler.enable(log, all_threads=False)
    faulthandler.register(signal.SIGXCPU, log, all_threads=False, chain=True)
    subject = subjects.load(options.subject, scratch)
    seeds = subject.seeds()
    for seed in seeds:  # what is loaded only now must not count as a case's memory or time
        _try(subject, _written(seed, folder / "case"), valid=seed.valid)
    tried = Tried(options.subject, options.seed, folder, subject, seeds)
    tried.run(options.first, options.count, options.seconds, options.processor)
    return 0


class Tried:
    """What has been tried so far, kept on disk."""

    def __init__(self, name: str, seed: int, folder: Path, subject: Subject, seeds: Sequence[Seed]) -> None:
        self._name, self._seed, self._folder = name, seed, folder
        self._subject, self._seeds = subject, seeds
        self._counts = {"accepted": 0, "refused": 0, "faults": 0}
        self._kinds: set[str] = set()

    def run(self, first: int, count: int, seconds: float, processor: int) -> None:
        """Try cases until there were ``count``, or the time is over; each has ``processor`` seconds."""
        end = time.monotonic() + seconds
        for number in range(first, first + count):
            if time.monotonic() > end:
                break
            seed = case(self._name, self._seed, number, self._seeds)
            entry = _written(seed, self._folder / "case")
            self._note(number)
            with _bounded(processor):
                outcome, fault = _try(self._subject, entry, valid=number < len(self._seeds) and seed.valid)
            self._counts[outcome] += 1
            if outcome == "faults":
                self._keep(number, fault)
        self._note(None)

    def _note(self, number: int | None) -> None:
        text = json.dumps({"number": number, **self._counts})
        (self._folder / "state.json").write_text(text, encoding="utf-8")

    def _keep(self, number: int, fault: str) -> None:
        kind = "\n".join(line for line in fault.splitlines() if line.lstrip().startswith("File "))[-300:]
        kind = kind or fault[:60]
        if kind not in self._kinds:
            self._kinds.add(kind)
            keep(self._folder, number, fault)


def case(name: str, seed: int, number: int, seeds: Sequence[Seed]) -> Seed:
    """The input of one number."""
    if number < len(seeds):
        return seeds[number]
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    chosen = seeds[int(rng.integers(len(seeds)))]
    names = chosen.damaged or tuple(chosen.files)
    victim = names[int(rng.integers(len(names)))]
    data = chosen.files[victim]
    for _ in range(int(rng.choice([1, 1, 2]))):
        data = mutations.mutated(rng, victim, data)
    return Seed(chosen.entry, {**chosen.files, victim: data})


def keep(folder: Path, number: int, fault: str) -> None:
    """Copy the case that is being tried to the faults, with what came of it."""
    place = folder / "faults" / str(number)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "case", place)
    (place / "fault.txt").write_text(fault, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _bounded(processor: int) -> Iterator[None]:
    """Seconds and memory that may be used from here on."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(spent.ru_utime + spent.ru_stime) + 1 + processor
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_AS, (used + (MEGABYTES << 20), resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _written(seed: Seed, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in seed.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / seed.entry


def _try(subject: Subject, entry: Path, *, valid: bool) -> tuple[str, str]:
    """``accepted``, ``refused`` or ``faults``, and what was wrong."""
    from robot_keypoints.core.errors import UserError
    from robot_keypoints.core.messages.envelope import MessageError

    try:
        subject.attempt(entry)
    except (UserError, MessageError) as problem:
        wrong = "a valid input was refused" if valid else _complaint(problem)
        return ("faults", f"{wrong}\n{traceback.format_exc()}") if wrong else ("refused", "")
    except BaseException:
        if valid:
            raise  # nothing that comes after would mean anything
        return "faults", traceback.format_exc()
    return "accepted", ""


def _complaint(problem: BaseException) -> str:
    """What is wrong with a refusal."""
    text = str(problem)
    if not text.strip():
        return "the refusal says nothing"
    if len(text) > LONGEST_SENTENCE:
        return f"the refusal has {len(text)} characters"
    if not text.isprintable():
        return "the refusal has line breaks or control characters"
    cause: BaseException | None = problem
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:  # one may be its own cause's cause
        seen.append(cause)
        if isinstance(cause, MemoryError) or "allocate memory" in str(cause) or "bad_alloc" in str(cause):
            return "it was refused because there was no more memory"
        cause = cause.__cause__ or cause.__context__
    return ""


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without waiting for any library's threads
