"""Starting on a cluster: refused while a fault of an earlier run remains, and a failed start leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.target import STACK

from trivet.errors import PlatformError
from trivet.host.journal import Run, leftovers
from trivet.host.kubectl import Kubectl, KubectlError
from trivet.provision.access import ClusterAccess, StoreAccess
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


def test_objects_of_a_session_whose_start_failed_are_deleted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked"
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\ncase "$*" in *apply*) exit 1 ;; esac\n')
    program.chmod(0o755)
    access = ClusterAccess(
        kubectl=Kubectl(context="fake", binary=str(program)),
        ingress="",
        tracking_uri="",
        tracking_url="",
        prometheus_url="",
        store=StoreAccess(root="s3://x"),
        images={},
        owned=True,
    )

    @contextmanager
    def opened(stack: Any, emit: Any) -> Iterator[ClusterAccess]:
        yield access

    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(KubectlError):
        ClusterTarget("fake", opened, lambda stack: ()).start(STACK, lambda event: None).__enter__()
    made, removed = asked.read_text().splitlines()
    assert "apply" in made
    assert "delete namespace -l trivet.dev/run=" in removed
    assert leftovers() == []
