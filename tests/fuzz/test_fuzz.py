# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged inputs of every kind are read, or refused in one sentence, in bounded time and memory.

Each time other ones: the seed is printed. To try the same ones again, set FUZZ_SEED to it; FUZZ_SECONDS is the time for
all subjects together. Inputs at which something goes wrong are kept in ``artefacts/fuzz``.
"""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from pathlib import Path

import campaign
import pytest
from subjects import SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(1 << 32))
SECONDS = float(os.environ.get("FUZZ_SECONDS") or 72.0)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_it_is_read_or_refused_in_one_sentence(subject: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ROOT / "artefacts" / "fuzz" / subject
    report = campaign.run(subject, SEED, SECONDS / len(SUBJECTS), folder)
    with capsys.disabled():
        print(f"\nfuzz {subject}: FUZZ_SEED={SEED}, {report.accepted} accepted, {report.refused} refused ", end="")
    found = []
    for number, fault in sorted(report.faults.items()):
        words = [
            sys.executable,
            str(campaign.WORKER),
            subject,
            str(SEED),
            str(folder),
            "--first",
            str(number),
            "--count",
            "1",
        ]
        found.append(f"case {number}, kept in {folder / 'faults' / str(number)}; again:\n{shlex.join(words)}\n{fault}")
    assert not found, f"{len(found)} kinds of fault, FUZZ_SEED={SEED}\n\n" + "\n\n".join(found)
    assert report.accepted and report.refused, f"nothing was accepted, or nothing refused: {report}"
