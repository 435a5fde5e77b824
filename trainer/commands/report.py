# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints report``: what came of a run, as one page, and its times as text."""

from __future__ import annotations

import json
import sys
import webbrowser
from pathlib import Path

from ...core import run_folder
from ...core.messages.job_progress import ProgressWriter
from ..evaluation import run_record
from ..reports import page


def report(
    run: Path, out: Path | None = None, *, opened: bool = False, as_json: bool = False, progress: bool = False
) -> int:
    """Write the page, and print the errors and times.

    Args:
        run: folder of a run that is finished, still going on or broken off.
        out: the file; None writes into the run's folder.
        opened: whether to show it in the browser.
        progress: whether to say how far it is in lines of JSON: see :mod:`.job_progress`.

    Raises:
        UserError: if there is no run, or the file can't be written.
    """
    path = out if out is not None else run / run_folder.REPORT
    record = run_record.read(run)
    page.check_path(path, "--out")
    writer = ProgressWriter(progress)
    writer("report", "looking for the hardest images", 1, 3)
    from ..evaluation import run_report

    made = run_report.page_of(record)
    writer("report", "writing the page", 2, 3)
    page.write(path, made)
    if as_json:
        times = record.times
        document = {
            "report": str(path.resolve()), "missing": list(record.missing),
            "timings": None if times is None else times.to_dict(),
            "stall_fraction": None if times is None else times.stall_fraction,
        }  # fmt: skip
        print(json.dumps(document, allow_nan=False), flush=True)
    else:
        print("\n".join(run_report.lines(record)), flush=True)
    print(f"report: {path}", file=sys.stderr)
    if opened:
        webbrowser.open(path.resolve().as_uri())
    return 0
