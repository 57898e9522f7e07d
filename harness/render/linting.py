"""The output of lint: one line per deviation, with its location first so that editors can jump to it; then a summary and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from io import StringIO
from pathlib import Path

from trivet.engine.fixes import FixedFile
from trivet.engine.lint import Deviation, LintResult, SkippedPaths
from trivet.model.contract import Contract
from trivet.model.finding import Finding
from trivet.model.outcome import Outcome, blocks
from trivet.model.waiver import WaiverStatus
from trivet.render.wording import acceptance, printable, verdict_sentence, waiver_warnings

KINDS = 9
"""Kinds of documents that are named among those that were found."""


class LintText:
    """The text of one call of lint, without control characters. It remembers what it has printed.

    ``quiet`` leaves out everything but what fails; of advice and of what is waived at most ``max_advice`` lines are printed, the rest is
    counted. The remedy of advice stands where it comes first.
    """

    def __init__(self, *, quiet: bool = False, max_advice: int = 20) -> None:
        self._quiet = quiet
        self._left = 0 if quiet else max_advice
        self._omitted: Counter[str] = Counter()
        self._remedies: set[tuple[str, str]] = set()

    def lines(self, deviations: Sequence[Deviation]) -> str:
        """The lines of some deviations, in their order; empty when there is nothing to print."""
        return printable("\n".join(line for finding, contract in deviations for line in self._lines(finding, contract)))

    def summary(self, result: LintResult) -> str:
        """What was found and skipped, and the verdict; when quiet, only a verdict that is not conformant."""
        report = result.report
        subjects = ", ".join(_found(result.counts)) or "nothing"
        judged = sum(1 for contract in report.contracts if contract.outcome is not Outcome.SKIPPED)
        lines = [f"found: {subjects}; {judged} of {len(report.contracts)} contracts apply, on {_stacks(result)}"]
        if result.skipped:
            lines.append(f"skipped: {', '.join(_skipped(*one) for one in result.skipped.items())}")
        if result.ignored:
            lines.append(f"ignored: {', '.join(f'{number:,} × {how}' for how, number in result.ignored.items())}")
        if used := [use for use in report.waivers if use.status is WaiverStatus.USED]:
            listed = ", ".join(f"{use.findings:,} × finding by {use.name} until {use.waiver.expires}" for use in used)
            lines.append(f"waived: {listed}")
        if result.stale:
            lines.append(f"baseline: {result.stale:,} × finding that these paths no longer have; write it anew")
        if self._omitted:
            omitted = ", ".join(f"{number:,} × {name}" for name, number in self._omitted.most_common())
            lines.append(f"advice not shown: {omitted}; --max-advice N shows more")
        if self._quiet:
            lines = []
        lines += [f"warning: {text}" for text in waiver_warnings(report)]
        if result.errors:
            lines.append(
                f"incomplete: {len(result.errors)} error{'s' if len(result.errors) > 1 else ''} while reading, listed below"
            )
        if (not result.errors or result.exit_code == 1) and (result.exit_code or not self._quiet):
            lines.append(verdict_sentence(report))
        return printable("\n".join(lines))

    def _lines(self, finding: Finding, contract: Contract) -> list[str]:
        place = finding.location
        where = f"{place.file}:{place.line or 1}: " if place and place.file else ""
        remedy = finding.remedy or contract.remedy
        line = f"{finding.message} [{contract.id}]"
        known = [f"    known: {text}"] if (text := acceptance(finding)) else []
        if blocks(finding.outcome, contract.level, accepted=finding.accepted):
            return [f"{where}{finding.outcome.value}: {line}", *known, f"    remedy: {remedy}"]
        if not self._left:
            self._omitted[contract.id] += 1
            return []
        self._left -= 1
        if finding.accepted:
            return [f"{where}waived: {line}", *known]
        word = "advice" if finding.outcome is Outcome.FAILED else "advice, inconclusive"
        lines = [f"{where}{word}: {line}", *known]
        if (contract.id, remedy) not in self._remedies:
            self._remedies.add((contract.id, remedy))
            lines.append(f"    remedy: {remedy}")
        return lines


def fixed_lines(fixed: FixedFile) -> str:
    """A line for each change to a file."""
    words = ((one.line, one.replacement) for one in fixed.changes)
    return printable("\n".join(f"{fixed.path}:{line}: fixed: {word.old} → {word.new}" for line, word in words))


def difference(files: Iterable[FixedFile]) -> str:
    """The changes as a unified diff that ``patch -p0`` applies in the working directory; empty when there are none."""
    return "".join(line for one in files for line in _changes(_relative(one.path), one))


def _changes(name: str, fixed: FixedFile) -> Iterator[str]:
    # patch ends a line at a line feed only, and wants to be told where the last line has none.
    before, after = (StringIO(text, newline="\n").readlines() for text in (fixed.before, fixed.after))
    for line in unified_diff(before, after, name, name):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _relative(path: Path) -> str:
    """The path relative to the working directory, if it is below: patch refuses others."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _found(counts: Mapping[str, int]) -> Iterator[str]:
    """What was seen, subjects first; of many kinds the first, and the sum of the others."""
    kinds = list(counts.items())
    yield from (f"{number:,} × {name}" for name, number in kinds[:KINDS])
    if others := kinds[KINDS:]:
        yield f"{sum(number for _, number in others):,} × document of {len(others)} other kinds"


def _stacks(result: LintResult) -> str:
    if len(result.stacks) < 2:
        return f"stack {next(iter(result.stacks), result.report.stack.name)}"
    return "stacks " + ", ".join(f"{name} ({number:,})" for name, number in result.stacks.items())


def _skipped(reason: str, paths: SkippedPaths) -> str:
    names = ", ".join(paths.samples) + (", …" if paths.number > len(paths.samples) else "")
    return f"{paths.number:,} × {reason} ({names})"
