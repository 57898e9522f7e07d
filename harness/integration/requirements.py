"""Exact pins of the packages that a pickled model needs, for MLflow's ``pip_requirements``.

MLflow's own inference starts a process for several seconds and omits packages that the pickle needs, such as NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from trivet.errors import UsageError

OF_SKLEARN = ("mlflow", "scikit-learn", "numpy", "pandas", "scipy", "cloudpickle")
"""The distributions that loading a pickled scikit-learn model needs."""


def pinned_requirements(distributions: Iterable[str]) -> list[str]:
    """``NAME==VERSION`` of each installed distribution, in the order given, without duplicates.

    Raises UsageError that names every distribution that is not installed.
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
            f"not installed in this environment: {', '.join(missing)}",
            remedy="pass names of distributions (scikit-learn, not sklearn), in the environment that trains the model",
        )
    return list(pins.values())
