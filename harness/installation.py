"""Detects which parts of trivet are installed: only the core library, which needs ``requests``, or also the harness."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from trivet.errors import UsageError

INSTALL = "pip install 'trivet[harness]'"


def missing(extra: str = "harness") -> list[str]:
    """The distributions of ``extra``, by trivet's metadata, that are not installed in this environment."""
    wanted = (
        re.match(rf"([\w.-]+).*; extra == ['\"]{extra}['\"]$", line) for line in distribution("trivet").requires or ()
    )
    return [found[1] for found in wanted if found and not _installed(found[1])]


def require_harness(user: str) -> None:
    """Raise UsageError, with the command that installs the harness, if the harness is missing; ``user`` is what needs it, such as "the
    command line"."""
    if absent := missing():
        raise UsageError(f"{user} needs the harness: {INSTALL} (missing: {', '.join(absent)})")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
