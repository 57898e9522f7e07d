"""Members of a fleet served by checks of trivet in processes of their own, for the command ``trivet fleet``."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trivet.cell_runs import CELLS, cells_at_once
from trivet.cli_options import TRACKING_URI
from trivet.errors import PlatformError, TrivetError, UsageError

if TYPE_CHECKING:
    from trivet.engine.acceptance import Waivers
    from trivet.host.child_runs import ChildRuns
    from trivet.model.fleet import Measurement, Member
    from trivet.model.report import ConformanceReport


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What the checks of one call have in common.

    ``arguments`` are the options of ``trivet check`` that say by what and how models are judged, and ``server`` the tracking server of
    their URIs, empty if there is none. ``models`` has what names the model of a member for it, by the URI of the member; itself by default.
    ``write`` writes the report of a model to its folder in ``directory``, if there is one; ``jobs`` is how many are served at a time, by
    default as many as this machine can.
    """

    arguments: Sequence[str]
    server: str
    models: Mapping[str, str]
    waivers: Waivers
    directory: Path | None
    write: Callable[[ConformanceReport, Path], object]
    jobs: int | None

    def serve(
        self, members: Sequence[Member], chosen: Sequence[int], progress: Callable[[Member, int], None]
    ) -> list[Member]:
        """``members``, those of the indexes ``chosen`` with what serving them showed.

        ``progress`` gets each as its check ends, and how many remain. A model that two of them have is served once: the second finds its
        results in the store.
        """
        from trivet.engine.fleet_serving import names_of_model
        from trivet.host.child_runs import ChildRuns
        from trivet.host.side_by_side import side_by_side

        served = list(members)
        remaining = len(chosen)
        with ChildRuns() as children:

            def call(index: int) -> Measurement:
                return self._measured(index, members[index], children)

            def ended(number: int, future: Future[Measurement]) -> None:
                nonlocal remaining
                remaining -= 1
                index = chosen[number]
                served[index] = replace(members[index], measured=future.result())
                progress(served[index], remaining)

            side_by_side(
                chosen,
                call,
                ended,
                jobs=self.jobs or cells_at_once(len(chosen)),
                needs=lambda index: names_of_model(members[index], self._model(members[index])),
                stop=children.close,
            )
        return served

    def _model(self, member: Member) -> str:
        return self.models.get(member.uri, member.uri)

    def _measured(self, index: int, member: Member, children: ChildRuns) -> Measurement:
        from trivet.engine.fleet_serving import measurement_of, unmeasured

        try:
            report = self._checked(children.folder(str(index)), self._model(member), children)
            measurement = measurement_of(report, member.uri, self.waivers)
            if self.directory is None:
                return measurement
            name = f"{CELLS}/{folder_name(member.uri)}"
            self.write(report, self.directory / name)
            return replace(measurement, report=name)
        except TrivetError as error:
            return unmeasured(error)
        except OSError as error:
            return unmeasured(
                PlatformError(
                    f"its report cannot be written to this machine: {error}",
                    remedy="free some disk space, and repeat the command",
                )
            )

    def _checked(self, folder: Path, model: str, children: ChildRuns) -> ConformanceReport:
        """The report of a check of ``model``. Raises TrivetError for a check that ends without one."""
        from trivet.render import report_json

        try:
            # The server's URL may hold credentials.
            code, log = children.call(
                ["check", *self.arguments, "--report", str(folder), "--", model],
                folder,
                {TRACKING_URI: self.server} if self.server else {},
            )
            file = folder / report_json.filename
            if not file.is_file():
                raise PlatformError(f"the check of it ended with exit code {code}: {log}")
            try:
                return report_json.read(file.read_text(encoding="utf-8", errors="replace"))
            except UsageError as error:
                raise PlatformError(
                    f"the check of it ended with exit code {code}, and its report cannot be read: {error.message}",
                    remedy="repeat the command: it judges what is missing",
                ) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def folder_name(uri: str) -> str:
    """``churn_3-1a2b3c4d`` for ``models:/churn/3``: what file names have everywhere, and what tells names apart that differ elsewhere."""
    text = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "_"
        for letter in uri.removeprefix("models:/")
    )
    return f"{text[:80]}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"
