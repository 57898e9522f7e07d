"""Comments that ignore findings: ``# trivet: ignore[ID] reason``, behind a value or on a line before it. Applies none."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trivet.model.text_lines import text_lines

MARK = "trivet:"
_COMMENT = re.compile(r"(?:^|\s)#\s*trivet:\s*ignore\b\s*(?:\[(?P<ids>[^\]]*)\])?(?P<reason>.*)$")
_NO_CONTENT = re.compile(r"\s*(?:#.*|---.*)?$")


@dataclass(frozen=True, slots=True)
class IgnoreComment:
    """One comment: the ids that it names, its reason, its own line, and the line that it is about, both from 1.

    ``whole``: it stands on a line of its own, so that before the first line of an object it is about the whole object.
    """

    ids: tuple[str, ...]
    reason: str
    line: int
    target: int
    whole: bool


def ignore_comments(text: str, *, before: int = 0) -> tuple[IgnoreComment, ...]:
    """The comments in a YAML stream, in order. One that no value follows is about its own line.

    ``before`` is the number of lines before ``text``, in a file that holds more.
    """
    if MARK not in text:
        return ()
    found: list[IgnoreComment] = []
    following = 0
    lines = text_lines(text)
    for number in range(len(lines), 0, -1):
        content = lines[number - 1]
        if MARK in content and (match := _COMMENT.search(content)):
            alone = not content[: match.start()].strip()
            found.append(
                IgnoreComment(
                    ids=tuple(filter(None, (one.strip() for one in (match["ids"] or "").split(",")))),
                    reason=match["reason"].strip(" :\t"),
                    line=before + number,
                    target=before + ((following or number) if alone else number),
                    whole=alone,
                )
            )
        if not _NO_CONTENT.match(content):
            following = number
    return tuple(reversed(found))
