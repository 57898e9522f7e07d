"""A copy of those parts of trivet that role environments import, without any of its dependencies.

A copy, because it is then the same whether trivet is installed from a wheel or from a checkout, and because a role must see nothing
else of the environment that trivet itself is installed in.
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
"""Package → the files of it that are copied."""


def stage(root: Path) -> Path:
    """Copy the parts to ``root``, which goes on ``PYTHONPATH``, and return it."""
    for package, patterns in PARTS.items():
        target = root.joinpath(*package.split("."))
        target.mkdir(parents=True)
        for pattern in patterns:
            for file in Path(import_module(package).__path__[0]).glob(pattern):
                shutil.copyfile(file, target / file.name)
    return root
