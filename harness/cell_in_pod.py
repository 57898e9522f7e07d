"""What a pod of ``trivet matrix --on kubernetes`` runs: one cell, whose artefacts go to the pod's log as soon as they exist.

A log outlives its container, needs no volume, and what was judged before a pod is killed is in it. A line is an artefact if it begins
with MARK: a JSON object with ``name``, and ``content`` as base64 of the compressed file. Other lines are the run's own output.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

from trivet.targets.cluster.cell_job import CELLS_KEY, MOUNT

MARK = "trivet-artefact "
"""How the line of an artefact begins."""

REPORT = "report.json"
"""The artefact with the report of the run; it comes last."""

CELLS_FILE = Path(MOUNT) / CELLS_KEY
"""The cells: a JSON array, by the index of the pod, of objects with ``arguments``, those of ``trivet run``."""

POLL = 1.0
"""Seconds between two looks for new results."""


def artefact_line(name: str, content: bytes) -> str:
    """The line of an artefact."""
    text = base64.b64encode(zlib.compress(content, 9)).decode()
    return f"{MARK}{json.dumps({'name': name, 'content': text})}"


def read_artefacts(log: str) -> dict[str, bytes]:
    """The artefacts in a pod's log; a line that was cut off is left out."""
    found = {}
    for line in log.splitlines():
        if line.startswith(MARK):
            try:
                entry = json.loads(line.removeprefix(MARK))
                found[str(entry["name"])] = zlib.decompress(base64.b64decode(entry["content"], validate=True))
            except (ValueError, KeyError, TypeError, zlib.error):
                continue
    return found


def output_of(log: str) -> str:
    """A pod's log without its artefacts."""
    return "\n".join(line for line in log.splitlines() if not line.startswith(MARK))


def main() -> int:
    """Run the cell of this pod; 0 when there is a report, whatever its verdict, else the exit code of the run."""
    index = int(os.environ["JOB_COMPLETION_INDEX"])
    arguments = json.loads(CELLS_FILE.read_text(encoding="utf-8"))[index]["arguments"]
    with tempfile.TemporaryDirectory() as folder:
        results, report = Path(folder) / "results", Path(folder) / "report"
        run = subprocess.Popen(
            [sys.executable, "-m", "trivet", *arguments, "--results", str(results), "--report", str(report)]
        )
        # A process 1 ignores signals without a handler: the run must end, and clean up, when the pod is deleted.
        signal.signal(signal.SIGTERM, lambda number, frame: run.terminate())
        shown: set[Path] = set()
        while run.poll() is None:
            time.sleep(POLL)
            _show_new(results, shown)
        _show_new(results, shown)
        if not (report / REPORT).is_file():
            return run.returncode or 1
        print(artefact_line(REPORT, (report / REPORT).read_bytes()), flush=True)
        return 0


def _show_new(results: Path, shown: set[Path]) -> None:
    for file in sorted(results.glob("??/*.json")):
        if file not in shown:
            shown.add(file)
            print(artefact_line(f"{file.parent.name}/{file.name}", file.read_bytes()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
