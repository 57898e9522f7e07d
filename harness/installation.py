"""What of trivet is installed: the core library alone, which needs ``requests`` only, or the harness with it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from trivet.errors import UsageError

INSTALL = "pip install 'trivet[harness]'"


def missing(extra: str = "harness") -> list[str]:
    """The distributions that ``extra`` names and that this environment does not have, as trivet's own metadata lists them."""
    wanted = (
        re.match(rf"([\w.-]+).*; extra == ['\"]{extra}['\"]$", line) for line in distribution("trivet").requires or ()
    )
    return [found[1] for found in wanted if found and not _installed(found[1])]


def require_harness(user: str) -> None:
    """Raise UsageError, with the command that installs the harness, unless ``user`` (such as "the command line") can be used."""
    if absent := missing():
        raise UsageError(f"{user} needs the harness: {INSTALL} (missing: {', '.join(absent)})")


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
