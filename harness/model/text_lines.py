"""The lines of a text as editors number them."""

from __future__ import annotations

from io import StringIO

LINE_ENDS = ("\n", "\r\n", "\r")
"""What ends a line in an editor. ``str.splitlines`` also counts U+000B, U+000C, U+001C to U+001E, U+0085, U+2028 and U+2029, so that every
later number is too high."""


def text_lines(text: str, *, keepends: bool = False) -> list[str]:
    """The lines of ``text``, with their ends if ``keepends``. The end of the last line begins no other."""
    lines = StringIO(text, newline="").readlines()
    return lines if keepends else [line.rstrip("\r\n") for line in lines]
