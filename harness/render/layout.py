"""Lines of styled text that fit a number of terminal columns. The same lines are printed plain or in colour."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells, set_cell_size

from trivet.render.wording import printable

if TYPE_CHECKING:
    from rich.text import Text

COLUMNS = 100
"""The maximum width of a line, and the default width without a terminal."""

STYLES = {
    "failed": "bold red",
    "error": "bold magenta",
    "inconclusive": "yellow",
    "advice": "yellow",
    "accepted": "cyan",
    "passed": "green",
    "skipped": "dim",
}
"""A rich style by the name of an outcome's wording."""


@dataclass(frozen=True)
class Span:
    """A piece of a line and its rich style."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def line(*parts: Span | str) -> Line:
    """A line of spans and plain strings."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def fit(text: str, columns: int) -> str:
    """``text`` on one line, cut with an ellipsis if it is wider than ``columns``."""
    return cut(" ".join(printable(text).split()), columns)


def cut(text: str, columns: int) -> str:
    """A line, cut with an ellipsis if it is wider than ``columns``."""
    return text if cell_len(text) <= columns else set_cell_size(text, columns - 1).rstrip() + "…"


def pad(text: str, columns: int) -> str:
    """``text`` padded with spaces to ``columns``; wider text is not cut."""
    return text + " " * max(0, columns - cell_len(text))


def wrap(text: str, columns: int, most: int | None = None) -> list[str]:
    """``text`` wrapped at ``columns``, keeping its own line breaks. More than ``most`` lines are cut with an ellipsis."""
    lines = [wrapped for one in printable(text).expandtabs(4).splitlines() for wrapped in _wrapped(one, columns)]
    if most is not None and len(lines) > most:
        lines = [*lines[: most - 1], fit(f"{lines[most - 1]} … (cut; the whole text is in the report)", columns)]
    return lines


def _wrapped(text: str, columns: int) -> Iterator[str]:
    indent = text[: len(text) - len(text.lstrip())][: columns // 4]
    current = indent
    for word in text.split():
        for piece in chop_cells(word, columns - len(indent)):
            joined = f"{current} {piece}" if current.strip() else indent + piece
            if cell_len(joined) > columns:
                yield current
                joined = indent + piece
            current = joined
    if current.strip():
        yield current


def entry(
    label: str, text: str, *, indent: int = 2, width: int = 10, columns: int = COLUMNS, most: int | None = None
) -> list[Line]:
    """``label`` followed by ``text`` with a hanging indent; empty without text."""
    wrapped = wrap(text, columns - indent - width, most)
    return [
        line(" " * indent, Span(pad(label if number == 0 else "", width), "dim"), one)
        for number, one in enumerate(wrapped)
    ]


def plain(lines: Sequence[Line]) -> str:
    """The lines as text, without control characters but the newline."""
    return "".join("".join(span.text for span in one).rstrip() + "\n" for one in lines)


def styled(lines: Sequence[Line]) -> Text:
    """The lines for a rich console."""
    from rich.text import Text

    text = Text(no_wrap=True, end="")
    for one in lines:
        for span in one:
            text.append(span.text, span.style)
        text.append("\n")
    return text


_TELLING = re.compile(
    r"error|exception|fail|refused|denied|not found|no module|HTTP [45]\d\d|\b[45]\d\d\b", re.IGNORECASE
)


def telling(text: str, about: str, most: int = 2) -> list[str]:
    """The most relevant lines of an evidence for a finding's message: those that share its words or name an error."""
    words = {word.lower() for word in re.findall(r"[\w.-]{4,}", about)}

    def weight(candidate: str) -> int:
        return len(words & {word.lower() for word in re.findall(r"[\w.-]{4,}", candidate)}) + 2 * bool(
            _TELLING.search(candidate)
        )

    lines = [one.strip() for one in printable(text).expandtabs(4).splitlines() if re.search(r"\w", one)]
    best = sorted(range(len(lines)), key=lambda index: (-weight(lines[index]), -index))[:most]
    return [lines[index] for index in sorted(best)]
