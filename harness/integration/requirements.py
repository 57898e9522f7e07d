"""Exact pins of what a pickled model needs, to hand to MLflow as ``pip_requirements``.

MLflow's own inference starts a process that takes several seconds and leaves packages out that the pickle needs,
NumPy among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from trivet.errors import UsageError


def pinned_requirements(distributions: Iterable[str]) -> list[str]:
    """``NAME==VERSION`` of every distribution, as installed here and in the order given, each once.

    Raises UsageError naming all that are not installed.
    """
    pins: dict[str, str] = {}
    missing = []
    for name in distributions:
        try:
            pins.setdefault(name, f"{name}=={version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise UsageError(
            f"not installed here: {', '.join(missing)}",
            remedy="give names of distributions (scikit-learn, not sklearn) of the environment that trains the model",
        )
    return list(pins.values())
