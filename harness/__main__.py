"""The command ``trivet``, which is installed with the core library too, and says then what is missing."""

from __future__ import annotations

import signal
import sys

from trivet.errors import UsageError
from trivet.installation import require_harness


def main() -> None:
    """The command line, or one line that says how to install it and exit code 3."""
    try:
        require_harness("the command line")
    except UsageError as error:
        sys.stderr.write(f"trivet: {error}\n")
        sys.exit(error.exit_code)
    try:
        from trivet import cli

        cli.main()
    except KeyboardInterrupt:
        # Before the command line handles signals, while it is imported, nothing has begun.
        sys.exit(128 + signal.SIGINT)
    finally:
        # Everything is stopped and said; what comes now would only spoil the exit code.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
