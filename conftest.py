"""What every test run of this repository needs: the layers of the tests, of which ``pytest`` runs the fast one.

``pytest`` runs what needs no process and no cluster; ``pytest --layer local`` adds real servers and real runs on this machine;
``--layer cluster`` and ``--layer catalogue`` run what needs a cluster of trivet's own. Tests that are named on the command line, by file or
by ``-m``, run whatever their layer is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

LAYERS = {"fast": {""}, "local": {"", "processes"}, "cluster": {"cluster"}, "catalogue": {"catalogue"}}
"""Layer → the markers of the tests in it; the empty one stands for tests without any of them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--layer``."""
    parser.addoption(
        "--layer",
        choices=sorted(LAYERS),
        default=None,
        help="tests to run: fast (default; seconds), local (fast and those that start processes), cluster, catalogue",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not in the layer; fast tests first, in a process that has no session's threads, which forks may not copy."""
    layer = config.getoption("--layer")
    if layer is None and not config.getoption("markexpr") and not _names_files(config):
        layer = "fast"
    if layer is not None:
        outside = [item for item in items if _marker(item) not in LAYERS[layer]]
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if _marker(item) in LAYERS[layer]]
    items.sort(key=lambda item: _marker(item) != "")


def _marker(item: pytest.Item) -> str:
    return next((name for name in ("catalogue", "cluster", "processes") if item.get_closest_marker(name)), "")


def _names_files(config: pytest.Config) -> bool:
    return any(Path(one.partition("::")[0]).is_file() for one in config.invocation_params.args)
