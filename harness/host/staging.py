"""Copies the parts of trivet that role environments import, without its dependencies.

A copy is the same for an installation from a wheel and from a checkout, and a role sees nothing else of the environment that trivet is
installed in.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

PARTS = {
    "trivet": ("__init__.py", "errors.py"),
    "trivet.model": ("*.py",),
    "trivet.integration": ("*.py",),
    "trivet.fixtures": ("__init__.py",),
    "trivet.fixtures.jobs": ("*.py",),
    "trivet.fixtures.pipelines": ("*.py",),
}
"""Package → glob patterns of the files to copy."""


def stage(root: Path) -> Path:
    """Copy the parts to ``root``, a folder for ``PYTHONPATH``, and return it."""
    for package, patterns in PARTS.items():
        target = root.joinpath(*package.split("."))
        target.mkdir(parents=True)
        for pattern in patterns:
            for file in Path(import_module(package).__path__[0]).glob(pattern):
                shutil.copyfile(file, target / file.name)
    return root
