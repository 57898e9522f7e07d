"""However a pytest session on the local target is asked to end, nothing that it started stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from contract_examples.live import STACK

from trivet.host.journal import leftovers, marked_processes

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("default_signals")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_pytest_asked_to_end_in_the_middle_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "test_platform.py").write_text(
        "from pathlib import Path\n"
        "def test_serving(trivet_session):\n"
        "    trivet_session.client('tracking')\n"
        "    Path('unfinished').write_text(str(trivet_session.directory))\n"
        "    Path('unfinished').rename('directory')\n"
        "    trivet_session.client('serving')\n"
        "    raise AssertionError('it came to the end')\n"
    )
    note = tmp_path / "directory"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--trivet-stack={STACK}", "test_platform.py"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            deadline = time.monotonic() + 60
            while not note.exists():
                assert run.poll() is None, "it never came to a session"
                assert time.monotonic() < deadline, "it never came to a session"
                time.sleep(0.05)
            directory = Path(note.read_text())
            assert marked_processes(directory.name), "nothing runs that could be left"
            run.send_signal(number)
            out, _ = run.communicate(timeout=30)
        finally:
            run.kill()
    assert run.returncode == pytest.ExitCode.INTERRUPTED, out
    assert f"Signalled: terminated by {number.name}" in out
    assert marked_processes(directory.name) == []
    assert not directory.exists()
    assert directory not in [leftover.directory for leftover in leftovers()]
