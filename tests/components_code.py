"""The code that a platform has in the image of its KFP components: trivet, and the samples' pipeline and training function."""

from __future__ import annotations

import shutil
from pathlib import Path

from trivet.host.staging import stage

_TESTS = Path(__file__).parent


def stage_components(folder: Path) -> Path:
    """``folder``, which must not exist, with that code in it, as ``PYTHONPATH`` takes it."""
    stage(folder)
    shutil.copytree(_TESTS.parent / "harness" / "operations", folder / "trivet" / "operations")
    for name in ("acme_training.py", "training_pipeline.py"):
        shutil.copy(_TESTS / "samples" / name, folder / name)
    return folder
