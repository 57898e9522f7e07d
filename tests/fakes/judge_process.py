"""A judge in a process of its own, on a stand-in for the platform whose time runs SPEED times as fast.

`python -m fakes.judge_process FILE ERRORS` prints a line for each thing that happens, and exits as `trivet canary judge` does.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fakes.canary import NAMESPACE, SERVICE, ScriptedMetrics, moving_traffic
from fakes.kubernetes_api import StoredObjects
from trivet.errors import TrivetError
from trivet.integration.canary import CanaryLimits
from trivet.operations.canary_run import RunSettings, run_canary
from trivet.operations.lease import LeaseTimes

SPEED = 600.0
QUERY = 0.1
"""Real seconds that reading a window takes."""

TIMES = LeaseTimes(duration=SPEED, renew_interval=0.2, renew_deadline=0.6 * SPEED, poll=0.05 * SPEED)
"""In the platform's seconds, but for ``renew_interval``, which a thread waits for in real ones."""


def judge(file: Path, errors: int) -> int:
    """The exit code of a judge on the platform in ``file``."""

    def say(text: str) -> None:
        print(text, flush=True)

    cluster = StoredObjects(file)
    try:
        report = run_canary(
            SERVICE,
            NAMESPACE,
            cluster=cluster,
            metrics=ScriptedMetrics(
                lambda: time.time() * SPEED, errors=errors, rate=60, before=lambda start: time.sleep(QUERY)
            ),
            actions=moving_traffic(cluster),
            limits=CanaryLimits(),
            settings=RunSettings(lease=TIMES),
            clock=lambda: time.monotonic() * SPEED,
            sleep=lambda seconds: time.sleep(seconds / SPEED),
            progress=say,
        )
    except TrivetError as error:
        say(str(error))
        return error.exit_code
    say(f"{report.decision} {report.windows}")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(judge(Path(sys.argv[1]), int(sys.argv[2])))
