"""Cells of a matrix judged by pods of a cluster, for ``trivet matrix --on kubernetes``.

Pods have no access to the results store: each judges what is missing, and the results in its log are added to the store here. What two
cells need is judged by one of them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from trivet.cell_in_pod import REPORT, output_of, read_artefacts
from trivet.cell_runs import Judging, cell_folder, from_store
from trivet.errors import PlatformError, UsageError

if TYPE_CHECKING:
    from trivet.engine.matrix import Matrix, PlannedCell
    from trivet.engine.results_store import ResultsStore
    from trivet.host.kubectl import Kubectl
    from trivet.model.report import ConformanceReport
    from trivet.model.stack import Stack
    from trivet.provision.images.build import OnStep
    from trivet.provision.images.recipes import Image
    from trivet.targets.cluster.cell_job import CellJobs, CellPod
    from trivet.targets.existing.rbac import Permission

COMMAND = "trivet matrix"
TAIL = 6
"""Lines of a pod's log that an error shows."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where pods run: a context of the kubeconfig, a namespace that exists, and the image; empty for one that is built."""

    context: str
    namespace: str
    image: str
    memory: str


def needed_permissions() -> list[Permission]:
    """What the command does in the namespace; the pods themselves need nothing."""
    from trivet.targets.existing.rbac import Permission

    change = ("get", "list", "create", "patch", "delete")
    return [
        Permission(group="batch", resource="jobs", verbs=change, purpose="the Job of the cells"),
        Permission(group="", resource="configmaps", verbs=change, purpose="what each cell judges"),
        Permission(
            group="", resource="pods", verbs=("get", "list"), purpose="waiting for the cells, and reading their logs"
        ),
        Permission(group="", resource="pods/log", verbs=("get",), purpose="the cells' results"),
    ]


def needs(place: Place, cells: int, parallel: int) -> str:
    """What cells on a cluster need, for people."""
    rights = "; ".join(f"{', '.join(one.verbs)} {one.name}" for one in needed_permissions())
    image = place.image or "built here, for a cluster of trivet's own; for another one give --image"
    return (
        f"on kubernetes: context {place.context}, namespace {place.namespace}, {cells} cells, {min(parallel, cells)} at a time\n"
        f"  needs Kubernetes 1.29 or newer, and in the namespace: {rights}\n"
        f"  image: {image}\n"
        f"  each pod requests 0.5 CPU and 1.5 GiB of memory, limit {place.memory}; no volume, no package index, no service account"
    )


def refuse_what_pods_lack(judging: Judging) -> None:
    """Raise UsageError for settings that a pod cannot have."""
    flags = judging.flags
    if judging.target.name != "local":
        raise UsageError(
            f"cells in pods run on the target local, not {judging.target.name}", remedy="omit --target, or omit --on"
        )
    settings = judging.settings
    if (settings.store, settings.database) != ("files", "sqlite"):
        raise UsageError(
            "cells in pods have no Docker for an S3 store or PostgreSQL",
            remedy="use --store files and --database sqlite, or omit --on",
        )
    if settings.plugins or flags["plugins"]:
        raise UsageError(
            "the image of the cells has trivet's own contracts, and not those of plugins",
            remedy="omit the plugins, or omit --on",
        )


def connect(place: Place) -> Kubectl:
    """kubectl for the context: with trivet's own kubeconfig for a cluster that trivet created.

    Raises UsageError when the namespace does not exist or permissions lack.
    """
    from trivet.host.kubectl import Kubectl, KubectlError, find_kubectl
    from trivet.targets.existing.rbac import missing_permissions

    folder = _own_cluster(place.context)
    find_kubectl()
    kubectl = Kubectl(context=place.context, kubeconfig=folder.kubeconfig if folder else None)
    if missing := missing_permissions(kubectl, {place.namespace: needed_permissions()}):
        raise UsageError(
            "the account of the context lacks permissions:\n" + "\n".join(f"  {one}" for one in missing),
            remedy="grant them in that namespace, or use a context whose account has them",
        )
    probe = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "trivet-matrix-probe"}}
    try:
        kubectl.apply(probe, namespace=place.namespace, dry_run=True)
    except KubectlError as error:
        if error.reason == "NotFound" and "namespaces" in error.stderr:
            raise UsageError(
                f"there is no namespace {place.namespace} in the cluster of the context {place.context}",
                remedy=f"name one that exists, or create it: kubectl --context {place.context} create namespace {place.namespace}",
            ) from error
        raise
    return kubectl


def _own_cluster(context: str) -> Any:
    from trivet.provision.kind.state import known_clusters

    return next((one for one in known_clusters() if one.context == context), None)


def matrix_label(place: Place, matrix: Matrix, cells: Sequence[PlannedCell], store: ResultsStore) -> str:
    """By which an interrupted command finds its Jobs again: a digest of what is asked, and not of what is missing.

    A Job belongs to the results store that asked for it: a command with another one, or on another machine, does not take it for its own.
    """
    from trivet.stacks.parts import digest_of

    owner = [platform.node(), str(store.folder.resolve())]
    return digest_of([place.image, owner, [sorted(matrix.keys(cell)) for cell in cells]])[:24]


def image_recipe(
    matrix: Matrix, cells: Sequence[PlannedCell], names: Sequence[str], *, everything: bool = False
) -> Image:
    """The image in which pods judge what is missing; ``names`` are the names of stacks, and versions, that its commands use.

    It has the environments of the roles behind the missing results, or with ``everything`` of all roles, which measuring features may need.
    Raises UsageError for a role that it cannot have.
    """
    from trivet.provision.images.cells import cells_image, own_stack

    composed = [(cell, cell.stack.roles) for cell in cells if cell.stack]
    needed = [
        roles[name] for cell, roles in composed for name in sorted(roles if everything else matrix.missing_roles(cell))
    ]
    every = [role for _, roles in composed for role in roles.values()]
    return cells_image(needed, every, [folder for name in names if (folder := own_stack(name))])


def build_image(image: Image, context: str, base: Stack, on_step: OnStep) -> None:
    """Build an image where the nodes of a cluster of trivet's own pull it.

    Raises UsageError for another cluster, with the name of the built image.
    """
    from trivet.provision.images.build import build
    from trivet.provision.images.recipes import images_of
    from trivet.provision.images.store import set_keys_of
    from trivet.provision.kind.cluster import HOSTS

    images, folder = images_of(base), _own_cluster(context)
    hosts = folder.path / HOSTS if folder else Path()
    keys = set_keys_of(hosts.read_text(encoding="utf-8")) if hosts.is_file() else []
    if keys:
        images = replace(images, key=keys[0])
    store = build(images, only=[image], on_step=on_step)
    if not keys:
        built = f"127.0.0.1:{store.port}/{images.key}/{image.reference.path}:{image.reference.tag}"
        raise UsageError(
            f"the cluster of the context {context} cannot pull from the image store of this machine; the image is {built}",
            remedy="copy it to a registry that its nodes reach, with docker pull, tag and push, and name it there with --image",
        )


@dataclass(kw_only=True)
class ClusterCells:
    """Judges cells by pods: :meth:`collect` first, then :meth:`judge` for each cell."""

    judging: Judging
    matrix: Matrix
    cells: Sequence[PlannedCell]
    jobs: CellJobs
    image: str
    memory: str
    parallel: int
    note: Callable[[str], None]
    _reports: dict[str, list[ConformanceReport]] = field(default_factory=dict)
    _failures: dict[str, str] = field(default_factory=dict)
    _assigned: dict[str, set[str]] = field(default_factory=dict)

    def collect(self) -> None:
        """Have everything judged that is missing in the store: first by the Jobs of an interrupted command, then by new ones.

        Raises PlatformError when the cluster cannot do it, and UsageError for results of another version of trivet. An interrupt leaves
        the Job to go on.
        """
        for name, work in self.jobs.present().items():
            self.note(f"continuing with the Job {name} of an interrupted command, {len(work)} cells")
            self._collect(name, work)
        while work := list(self._missing()):
            name = f"trivet-matrix-{uuid4().hex[:8]}"
            for one in work:
                self._assigned.setdefault(_key(one["values"]), set()).update(one["contracts"])
            contracts = sum(len(one["contracts"]) for one in work)
            self.note(f"the Job {name} judges {contracts} results in {len(work)} cells")
            self.jobs.create(name, image=self.image, cells=work, parallel=self.parallel, memory=self.memory)
            self._collect(name, work)

    def judge(self, cell: PlannedCell) -> ConformanceReport:
        """The report of a cell from the store and its pods, also written to its folder. Raises PlatformError with the pod's failure."""
        from trivet.render.writers import write_files

        report = self._report(cell)
        if self.judging.directory:
            write_files(report, self.judging.directory / cell_folder(cell.values), self.judging.registry.writers)
        return report

    def _report(self, cell: PlannedCell) -> ConformanceReport:
        """Results that are kept come from the store, those that are not from the reports of pods, by the settings of this machine."""
        from trivet.engine.run import fold

        assert cell.stack is not None
        judging, key = self.judging, _key(cell.values)
        missing, contracts = self.matrix.missing(cell), judging.plan.contracts
        reports = self._reports.get(key, [])
        in_pods = {result.id: result for report in reports for result in report.contracts}
        acceptance = judging.accepted(cell.stack)
        if lost := [one.id for one in contracts if one.id in missing and one.id not in in_pods]:
            raise PlatformError(
                self._failures.get(key, f"no pod judged {', '.join(lost)}"),
                remedy="repeat the command: it judges what is missing",
            )
        kept = [one for one in contracts if one.id not in missing]
        stored = from_store(judging, cell, kept, COMMAND) if kept else None
        found = {result.id: result for result in stored.contracts} if stored else {}
        judged = {
            one.id: fold(one, in_pods[one.id].findings, in_pods[one.id].seconds, acceptance)
            for one in contracts
            if one.id in in_pods
        }
        results = tuple(judged.get(one.id) or found[one.id] for one in contracts)
        last = reports[-1] if reports else stored
        assert last is not None
        return replace(
            last,
            contracts=results,
            waivers=acceptance.waiver_uses(results),
            baseline=acceptance.baseline_use(results),
            provenance=replace(last.provenance, command=COMMAND),
        )

    def _missing(self) -> Iterator[dict[str, Any]]:
        """The cells with what each has to judge: nothing that another one judges, nothing that it was given before."""
        given: set[str] = set()
        for cell in self.cells:
            before = self._assigned.get(_key(cell.values), set())
            names = {
                contract: name
                for contract, name in self.matrix.missing(cell).items()
                if contract not in before and name not in given
            }
            given |= set(names.values())
            if names:
                yield {
                    "values": dict(cell.values),
                    "contracts": list(names),
                    "arguments": self._arguments(cell.values, list(names)),
                }

    def _arguments(self, values: Mapping[str, str], contracts: Sequence[str]) -> list[str]:
        from trivet.engine.required import REQUIRED
        from trivet.provision.images.cells import name_in_image

        settings = self.judging.settings
        return [
            *("run", "--target", "local", "--stack", name_in_image(settings.stack)),
            *("--profile", self.judging.plan.profile),
            *(part for name in settings.require_features for part in ("--require-feature", name)),
            *(part for name, value in values.items() for part in ("--with", f"{name}={name_in_image(value)}")),
            *(part for one in contracts if one != REQUIRED.id for part in ("--contract", one)),
        ]

    def _collect(self, name: str, work: Sequence[Mapping[str, Any]]) -> None:
        from trivet.targets.cluster.cell_job import ImageUnavailable

        try:
            for pod in self.jobs.ended(name, self.note):
                self._read(pod, work[pod.index])
        except (ImageUnavailable, UsageError):
            # Collected again, it would be refused again.
            self.jobs.delete(name)
            raise
        except BaseException:
            kubectl = f"kubectl --context {self.jobs.kubectl.context} -n {self.jobs.namespace}"
            self.note(
                f"the Job {name} goes on; the same command collects its results, and `{kubectl} delete job {name}` ends it"
            )
            raise
        self.jobs.delete(name)

    @cached_property
    def _asked(self) -> frozenset[str]:
        """The keys of everything that the cells ask the store."""
        return frozenset().union(*map(self.matrix.keys, self.cells))

    def _read(self, pod: CellPod, one: Mapping[str, Any]) -> None:
        """Add a pod's results to the store."""
        from trivet.render import report_json

        key, title = _key(one["values"]), " ".join(f"{part}={value}" for part, value in one["values"].items())
        artefacts = read_artefacts(pod.log)
        report = artefacts.pop(REPORT, None)
        failure = pod.failure or "the log of the pod has no report: it was cut off"
        for content in artefacts.values():
            if not self.judging.store.adopt(content, self._asked):
                raise UsageError(
                    f"the results of the image {self.image} are not those that are asked for: it has another version of trivet",
                    remedy="build the image again with this version: omit --image, and push it as the message says",
                )
        if report is not None:
            read = report_json.read(report.decode("utf-8"))
            self._check_stack(read, key, title)
            self._reports.setdefault(key, []).append(read)
            self._assigned.setdefault(key, set()).update(one["contracts"])
        else:
            tail = "\n".join(output_of(pod.log).strip().splitlines()[-TAIL:])
            self._failures[key] = f"{failure}\n{tail}".strip()
        self.note(f"{title}: {len(artefacts)} results{'' if report is not None else f', then {failure}'}")

    def _check_stack(self, report: ConformanceReport, key: str, title: str) -> None:
        """Raise UsageError for the report of another stack than that of the cell.

        A Job of an interrupted command may have a cell by another name, such as the version that a stack has: its report is not used.
        """
        digests = {_key(cell.values): cell.stack.digest for cell in self.cells if cell.stack}
        if report.stack.digest != digests.get(key, report.stack.digest):
            raise UsageError(
                f"the pod of {title} judged another stack, {report.stack.name}: the image {self.image} has other files of it",
                remedy="build the image again with these stacks: omit --image, and push it as the message says",
            )


def _key(values: Mapping[str, str]) -> str:
    return " ".join(f"{part}={values[part]}" for part in sorted(values))
