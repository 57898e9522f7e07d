"""Every benchmark of trivet, side by side with what it is held against. Prints figures and judges none.

Usage: ``python benchmarks/run.py [--only plugin|lint|run|fleet|bringup] [--rounds N]``, or ``--only fleet --folder DIR``, with the
Python that trivet is installed in.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import bringup
import fleet
import linting
import plugin
import warm

BENCHMARKS = {
    "plugin": (plugin.measure, 20),
    "lint": (linting.measure, 5),
    "run": (warm.measure, 3),
    "fleet": (fleet.measure, 3),
    "bringup": (bringup.measure, 3),
}
"""What measures, and in how many rounds."""

BY_NAME = ("fleet", "bringup")
"""What is measured when asked for by name: the one takes minutes, the other needs Docker."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, help="one of them")
    parser.add_argument("--rounds", type=int, help="instead of each one's own number")
    parser.add_argument(
        "--folder",
        type=Path,
        help="with --only fleet: register the versions in this folder, and find there what an earlier run registered",
    )
    asked = parser.parse_args()
    if asked.folder and asked.only != "fleet":
        parser.error("--folder is for --only fleet: the others prepare anew")
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{platform.system()} {platform.machine()}, {processors} processors, Python {platform.python_version()}, ",
        end="",
    )
    print(", ".join(f"{name} {version(name)}" for name in ("trivet", "pytest", "pyyaml")))
    for name, (measure, rounds) in BENCHMARKS.items():
        if asked.only == name or (asked.only is None and name not in BY_NAME):
            with _folder(asked.folder and asked.folder.resolve() / name) as scratch:
                print(f"\n== {name}: {measure(scratch, asked.rounds or rounds)}", flush=True)


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="trivet-benchmark-") as scratch:
        yield Path(scratch)


if __name__ == "__main__":
    main()
