"""The command ``trivet matrix``: its options, the runs of its cells, where its output goes, and its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trivet.cell_runs import CellRuns, Judging, cell_folder, cells_at_once
from trivet.cli_options import (
    contracts_option,
    stream_beside,
    target_options,
)
from trivet.errors import UsageError, unknown

if TYPE_CHECKING:
    from trivet import cluster_cells
    from trivet.engine.matrix import Matrix, PlannedCell
    from trivet.model.matrix import Axis


@click.command()
@target_options
@click.option(
    "--axis",
    "axes",
    multiple=True,
    metavar="ROLE=V,V,…",
    help="A role in several versions, or from several stacks, as --with of run takes them; repeatable: the matrix has every combination.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A TOML file with the axes, and optionally stack and contracts.",
)
@contracts_option
@click.option(
    "--results", metavar="DIR", help="The results store (default: one in the cache); what it has is not judged again."
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Cells at a time (default: by this machine's cores and memory; on a kind cluster one, on Kubernetes all).",
)
@click.option(
    "--on",
    "place",
    type=click.Choice(["kubernetes"]),
    help="Judge the cells in pods of an Indexed Job, with --context and --namespace.",
)
@click.option("--namespace", default="", metavar="NAME", help="With --on: the namespace of the Job; it must exist.")
@click.option(
    "--image",
    default="",
    metavar="NAME",
    help="With --on: the image of the cells (default: built, for a cluster of trivet's own).",
)
@click.option(
    "--memory", default="3Gi", show_default=True, metavar="QUANTITY", help="With --on: the memory limit of a pod."
)
@click.option(
    "--report",
    metavar="DIR",
    help="Write matrix.json, matrix.html, matrix.md, junit.xml, and the report of each cell to DIR.",
)
@click.option(
    "--format",
    "output",
    help="Print this format to standard output, and but for github nothing else: json, junit, html, markdown or github.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show the cells, and how many of their results are missing; start nothing."
)
def matrix(
    axes: Sequence[str],
    file: Path | None,
    contracts: Sequence[str],
    results: str | None,
    jobs: int | None,
    place: str | None,
    namespace: str,
    image: str,
    memory: str,
    output: str | None,
    dry_run: bool,
    **flags: Any,
) -> int:
    """Judge a stack in several versions: a run for each combination of the axes.

    Results are kept in a results store: an interrupted matrix continues where it was, and a larger one judges only what is new.

    Exit codes: 0 every cell is conformant, 1 a contract failed in a cell, 2 a cell is inconclusive, 3 wrong usage.
    """
    from trivet.engine.matrix import Matrix, planned_cells, read_axes, read_matrix_file
    from trivet.engine.run import Recorder
    from trivet.host.child_runs import ChildRuns
    from trivet.model.matrix import MatrixReport
    from trivet.render import matrix_text
    from trivet.render.matrix_writers import WRITERS, write_matrix

    if output and output not in WRITERS:
        raise unknown("format of a matrix", output, WRITERS)
    say = partial(click.echo, file=stream_beside([output] if output else []))
    if bool(axes) == bool(file):
        raise UsageError("give axes, with --axis or with --file", remedy="for example --axis tracking=2.12.2,2.17.2")
    described = read_matrix_file(file) if file else None
    chosen_axes = described.axes if described else read_axes(axes)
    if described and described.stack and not flags["stack"]:
        flags["stack"] = described.stack
    patterns = tuple(contracts) or (described.contracts if described else ())
    judging = Judging.prepare(flags, parts=[axis.part for axis in chosen_axes], patterns=patterns, results=results)
    base, target, plan, store, directory = (
        judging.base,
        judging.target,
        judging.plan,
        judging.store,
        judging.directory,
    )
    cells = planned_cells(base, chosen_axes, lambda text: click.echo(text, err=True))
    planned = Matrix(cells, plan.contracts, target, store)
    say(matrix_text.opening(chosen_axes, len(plan.contracts), base.name, target.name, str(store.folder)))
    where = _place(place, flags["context"] or "", namespace, image, memory)
    if where:
        from trivet import cluster_cells

        say(cluster_cells.needs(where, len(cells), jobs or len(cells)))
        cluster_cells.refuse_what_pods_lack(judging)
    if dry_run:
        say(matrix_text.remaining([(cell, planned.missing(cell)) for cell in cells]))
        return 0
    recorder = Recorder(lambda event: None)
    progress = matrix_text.Progress(len(cells), say)
    if where:
        in_pods = _in_pods(where, judging, planned, cells, chosen_axes, jobs or len(cells))
        judged = planned.run(in_pods.judge, cells_at_once(len(cells)), progress)
    else:
        with ChildRuns() as children:
            cell_runs = CellRuns(judging=judging, missing=planned.missing, children=children, command="trivet matrix")
            judged = planned.run(cell_runs.judge, jobs or judging.cells_at_once(len(cells)), progress, children.close)
    report = MatrixReport(
        base=base.name,
        target=target.name,
        axes=chosen_axes,
        contracts=tuple(contract.id for contract in plan.contracts),
        cells=tuple(
            replace(cell, report=cell_folder(cell.values)) if directory and cell.contracts else cell for cell in judged
        ),
        provenance=recorder.provenance("trivet matrix"),
    )
    say(matrix_text.summary(report), nl=False)
    if directory:
        for path in write_matrix(report, directory):
            say(f"wrote {path}")
    if output:
        click.echo(WRITERS[output].write(report), nl=False)
    return report.exit_code


def _place(place: str | None, context: str, namespace: str, image: str, memory: str) -> cluster_cells.Place | None:
    """Where cells run in pods; None for this machine. Raises UsageError for options without ``--on``, and for lacking ones."""
    if place is None:
        if namespace or image:
            raise UsageError("--namespace and --image need --on kubernetes", remedy="add it, or omit them")
        return None
    if not (context and namespace):
        raise UsageError(
            "--on kubernetes needs the context and the namespace of the Job: neither is guessed",
            remedy="give both, such as --context staging --namespace trivet-matrix",
        )
    from trivet import cluster_cells

    return cluster_cells.Place(context=context, namespace=namespace, image=image, memory=memory)


def _in_pods(
    where: cluster_cells.Place,
    judging: Judging,
    planned: Matrix,
    cells: Sequence[PlannedCell],
    axes: Sequence[Axis],
    parallel: int,
) -> cluster_cells.ClusterCells:
    """The cells, after pods have judged what the store lacks. Nothing is built or created if it lacks nothing."""
    from trivet import cluster_cells
    from trivet.render.images import step_line
    from trivet.targets.cluster.cell_job import CellJobs

    def note(text: str) -> None:
        click.echo(text, err=True)

    kubectl = cluster_cells.connect(where)
    image = where.image
    if not image:
        names = [judging.settings.stack, *(value for axis in axes for value in axis.values)]
        recipe = cluster_cells.image_recipe(planned, cells, names, everything=bool(judging.settings.require_features))
        image = str(recipe.reference)
        if any(planned.missing(cell) for cell in cells):
            cluster_cells.build_image(recipe, where.context, judging.base, lambda event: note(step_line(event)))
    found = cluster_cells.ClusterCells(
        judging=judging,
        matrix=planned,
        cells=cells,
        jobs=CellJobs(
            kubectl=kubectl,
            namespace=where.namespace,
            matrix=cluster_cells.matrix_label(where, planned, cells, judging.store),
        ),
        image=image,
        memory=where.memory,
        parallel=parallel,
        note=note,
    )
    found.collect()
    return found
