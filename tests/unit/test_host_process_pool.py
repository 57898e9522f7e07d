"""Work in several processes has the same results as in one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from trivet.authoring.contracts import MUST, contract
from trivet.engine import lint as engine
from trivet.errors import PlatformError
from trivet.host.process_pool import map_in_processes
from trivet.model.finding import Finding, failed, not_applicable, passed
from trivet.model.subjects import Manifest
from trivet.stacks.read import load_stack

forks = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or threading.active_count() > 1,
    reason="work is shared on Linux, with two processors or more, where no threads run",
)


@contract(title="X must Y", level=MUST, seam=("kfp", "kserve"), rationale="because", remedy="do")
def number_is_odd(manifest: Manifest) -> Iterator[Finding]:
    number = int(manifest.document["metadata"]["name"])
    if number % 5 == 0:
        yield not_applicable("a multiple of five", location=manifest.at())
    elif number % 2:
        yield passed(f"{number} is odd", location=manifest.at())
    else:
        yield failed(f"{number} is even", location=manifest.at("metadata", "name"))


@forks
def test_results_come_in_order_from_several_processes() -> None:
    results = list(map_in_processes(lambda item: (item * 2, os.getpid()), range(20)))
    assert [doubled for doubled, _ in results] == list(range(0, 40, 2))
    assert os.getpid() not in {process for _, process in results}
    assert len({process for _, process in results}) > 1
    assert not active_children()


@forks
def test_closing_the_iterator_ends_the_processes() -> None:
    with closing(map_in_processes(lambda item: item, range(1000))) as results:
        assert next(results) == 0
        assert active_children()
    assert not active_children()


@forks
def test_the_processes_end_with_one_that_is_killed() -> None:
    program = """
import os, time
from trivet.host.process_pool import map_in_processes
for process in map_in_processes(lambda item: os.getpid() if item < 2 else time.sleep(60), range(4)):
    print(process, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(parent.stdout.readline())) for _ in range(2)]
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


@forks
def test_a_process_that_dies_is_an_error_and_not_an_empty_result() -> None:
    with pytest.raises(PlatformError, match="a worker process died"):
        list(map_in_processes(lambda item: os._exit(0) if item == 7 else item, range(20)))
    assert not active_children()


@forks
def test_a_process_that_cannot_be_started_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(PlatformError, match=r"cannot start a worker process: .*temporarily unavailable") as caught:
        list(map_in_processes(lambda item: item, range(20)))
    assert "ulimit -u" in caught.value.remedy


def test_with_other_threads_the_work_runs_in_this_process() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        assert set(map_in_processes(lambda item: os.getpid(), range(9))) == {os.getpid()}
    finally:
        end.set()
        thread.join()


def test_lint_has_the_same_result_with_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: '{}'}}\n"
    for number in range(40):
        (tmp_path / f"{number:02}.yaml").write_text(service.format(number))
    (tmp_path / "13.yaml").write_text("kind: InferenceService\na: [")
    (tmp_path / "27.yaml").write_text("kind: InferenceService\na: ]")
    (tmp_path / "31.yaml").write_text("kind: ConfigMap")

    def lint(item: int) -> engine.LintResult:
        monkeypatch.setattr(engine, "PIECE", item)
        return engine.lint([tmp_path], [number_is_odd], load_stack("2024.11"))

    alone, shared = lint(1000), lint(3)
    (one,), (other,) = alone.report.contracts, shared.report.contracts
    assert [finding.message for finding in one.findings] == [
        *(f"{number} is even" for number in range(40) if number % 2 == 0 and number % 5),
        "a multiple of five (and 7 more)",
        "1 is odd (and 12 more)",
    ]
    assert replace(other, seconds=one.seconds) == one
    assert shared.counts == alone.counts == {"InferenceService": 37, "ConfigMap": 1}
    assert [str(error) for error in shared.errors] == [str(error) for error in alone.errors]
    assert [error.message.partition(":")[0] for error in shared.errors] == [
        str(tmp_path / "13.yaml"),
        str(tmp_path / "27.yaml"),
    ]
