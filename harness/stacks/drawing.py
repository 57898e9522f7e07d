"""The environment in which Hypothesis draws inputs. It is not part of a stack; it is locked and built as the environment of a role."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from trivet.fixtures import jobs
from trivet.model.stack import Role
from trivet.stacks.read import read_pins

JOB = Path(jobs.__path__[0]) / "drawing.py"
"""The script that runs in it, by its path; it needs nothing of trivet."""


def drawing_role() -> Role:
    """A role with Hypothesis, from the lock in the folder of :data:`JOB`, and with the Python that runs trivet."""
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
