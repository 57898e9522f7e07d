"""Starting on a cluster: not beside a fault that an earlier run left and that cannot be reverted."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from fakes.target import STACK

from trivet.errors import PlatformError
from trivet.host.journal import Run
from trivet.targets.cluster.target import ClusterTarget


def test_nothing_starts_beside_a_fault_that_cannot_be_reverted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(stack: Any, emit: Any) -> AbstractContextManager[Any]:
        raise AssertionError("the cluster is not even looked for")

    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    with Run() as run:
        run.add_cleanup("a fault: stop mlflow", ["sh", "-c", "echo no route to host >&2; exit 1"], required=True)
    target = ClusterTarget("fake", opened, lambda stack: ())
    with pytest.raises(PlatformError, match="a fault: stop mlflow: no route to host") as caught:
        target.start(STACK, lambda event: None).__enter__()
    assert str(run.directory) in caught.value.remedy
