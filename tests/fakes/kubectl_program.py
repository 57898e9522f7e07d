"""The fake kubectl as a program that a Kubectl calls."""

from __future__ import annotations

import sys
from pathlib import Path

from fakes import kubectl


def kubectl_program(folder: Path) -> str:
    """The path of a program in ``folder`` that behaves as :mod:`fakes.kubectl`, on the cluster of its variable FAKE_CLUSTER."""
    script = folder / "kubectl"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {kubectl.__file__} "$@"\n')
    script.chmod(0o755)
    return str(script)
