"""Whole outputs held by files. ``TRIVET_UPDATE_SNAPSHOTS=1`` writes them anew; read the difference before committing it."""

from __future__ import annotations

import os
from pathlib import Path


def same_as_file(path: Path, text: str) -> None:
    """Hold ``text`` to what ``path`` holds."""
    if os.environ.get("TRIVET_UPDATE_SNAPSHOTS") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
