"""The environment in which Hypothesis draws inputs: part of no stack, and locked and built as a role's is."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from trivet.fixtures import jobs
from trivet.model.stack import Role
from trivet.stacks.read import read_pins

JOB = Path(jobs.__path__[0]) / "drawing.py"
"""The script that is run in it, by its path: it needs nothing of trivet."""


def drawing_role() -> Role:
    """Hypothesis by the lock beside :data:`JOB`, on the Python that runs trivet."""
    lock = JOB.with_suffix(".lock")
    return Role(
        name="drawing",
        title="Hypothesis",
        python=str(Path(sys.executable).resolve()),
        requires=("hypothesis",),
        cutoff="",
        lock=lock,
        pins=read_pins(lock, platform.python_version()),
    )
