"""The command ``trivet``. It is installed with the core library too, and then reports that the harness is missing."""

from __future__ import annotations

import signal
import sys

from trivet.errors import UsageError
from trivet.installation import require_harness


def main() -> None:
    """Run the command line; without the harness print how to install it and exit with 3."""
    try:
        require_harness("the command line")
    except UsageError as error:
        sys.stderr.write(f"trivet: {error}\n")
        sys.exit(error.exit_code)
    try:
        from trivet import cli

        cli.main()
    except KeyboardInterrupt:
        # During the import, before the command line handles signals, nothing has started.
        sys.exit(128 + signal.SIGINT)
    finally:
        # Everything is stopped and printed; a later signal would only change the exit code.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
