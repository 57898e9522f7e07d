"""Findings that are ignored, by comments in the files or by a baseline, and comments that ignore nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from trivet.errors import nearest
from trivet.model.contract import Contract
from trivet.model.finding import Finding, Location, failed
from trivet.model.outcome import Level
from trivet.toolkit.ignore_comments import IgnoreComment

BY_COMMENT = "finding by a comment"
BY_BASELINE = "finding in the baseline"
HOW = {"comment": BY_COMMENT, "baseline": BY_BASELINE}
"""What ignores a finding → the finding, as a noun that can be counted."""

COMMENTS = Contract(
    id="lint.ignore_comments_are_used",
    title="A comment that ignores findings must give its reason, and ignore one",
    level=Level.SHOULD,
    seam=("kserve", "kserve"),
    rationale="A comment without a reason cannot be reviewed, and one that ignores nothing hides the next deviation.",
    remedy="Remove the comment, or write # trivet: ignore[ID] reason behind the value, before it, or before the object.",
    check=lambda resource: (),
    wants=("resource",),
)
"""The contract of findings about comments. It is part of lint, not of a profile, and its check is never called: only lint knows which
comments were used."""


def ignored_by(
    comments: Sequence[IgnoreComment], finding: Finding, contract: Contract, first_line: int
) -> IgnoreComment | None:
    """The first of ``comments`` that ignores a finding on an object that begins at ``first_line``."""
    line = finding.location.line if finding.location else None
    for one in comments:
        if one.reason and contract.id in one.ids and (one.target == line or (one.whole and one.target == first_line)):
            return one
    return None


def problems(
    comments: Iterable[IgnoreComment],
    used: Collection[tuple[IgnoreComment, str]],
    *,
    file: str,
    judged: Collection[str],
    known: Collection[str],
) -> Iterator[Finding]:
    """What is wrong with the comments of one file.

    ``used`` are the pairs of comment and id that ignored a finding, ``judged`` the ids of the contracts that judged something in the file,
    ``known`` those that exist: whether a comment for a contract that was not chosen is needed is unknown.
    """
    for one in comments:
        where = Location(file=file, line=one.line)
        if not one.ids:
            yield failed("the comment names no contract, and is not applied", location=where)
        elif not one.reason:
            yield failed("the comment gives no reason, and is not applied", location=where)
        else:
            for name in one.ids:
                if name not in known:
                    near = nearest(name, known)
                    remedy = f"did you mean {near!r}?" if near else "`trivet list` shows the contracts that there are"
                    yield failed(f"the comment names an unknown contract {name!r}", location=where, remedy=remedy)
                elif name in judged and (one, name) not in used:
                    yield failed(f"the comment ignores nothing: {name} does not deviate here", location=where)
