"""Settings as data. ``trivet.settings`` reads them from files and the environment.

The metadata of a field has what a reader needs beyond its type: ``choices``, the allowed values, ``items``, what a list is of, and
``form``, how a value is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from trivet.errors import UsageError, unknown
from trivet.model.waiver import Waiver

PULL, BUILD = IMAGE_SOURCES = "pull", "build"

DEPLOYMENT_MODES = ("Serverless", "RawDeployment", "ModelMesh", "Knative", "Standard")
"""KServe 0.14.1 and 0.20.0, pkg/constants/constants.go: Knative and Standard are the names of Serverless and RawDeployment since 0.16."""


@dataclass(frozen=True, kw_only=True)
class Existing:
    """``[tool.trivet.existing]``: the user's own cluster, for the target ``existing``. The environment variable of a key is
    ``TRIVET_EXISTING_`` and the key in capitals.

    ``context`` is required; an empty ``kubeconfig`` means kubectl's default. Both namespaces must exist; ``service_account`` is that of the
    services (empty: the namespace's default), ``store_secret`` a Secret in both namespaces with AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY. ``tracking_uri`` and ``store_endpoint`` are addresses for pods (the latter empty for AWS itself); ``ingress``,
    ``tracking_url`` and ``prometheus_url`` are addresses for this machine: without a tracking URL trivet forwards a port, without
    Prometheus there are no metrics. Images default to those that upstream publishes for the stack.

    ``kfp_url`` is the address of KFP's API server for this machine, and ``kfp_namespace`` where its runs are: the namespace of the
    installation, or a profile's in a multi-user one. ``kfp_step_image`` is for steps (empty: the trainer's). Without them the
    contracts of KFP's backend are skipped; the handover goes through the SDK's local runner in both cases.
    """

    context: str = ""
    kubeconfig: str = ""
    pipeline_namespace: str = ""
    serving_namespace: str = ""
    tracking_uri: str = ""
    tracking_url: str = ""
    artifact_root: str = ""
    store_endpoint: str = ""
    store_region: str = "us-east-1"
    store_secret: str = ""
    service_account: str = ""
    ingress: str = ""
    prometheus_url: str = ""
    trainer_image: str = ""
    initializer_image: str = ""
    runtime_image: str = ""
    kfp_url: str = ""
    kfp_namespace: str = ""
    kfp_step_image: str = ""


@dataclass(frozen=True, kw_only=True)
class LintPath:
    """``[[tool.trivet.lint.paths]]``: files whose path matches ``glob``, in the syntax of ``.gitignore``, are judged by ``stack``."""

    glob: str
    stack: str


@dataclass(frozen=True, kw_only=True)
class Lint:
    """``[tool.trivet.lint]``: what ``trivet lint`` knows of the platform that files are applied to, and which files it reads. The
    environment variable of a text is ``TRIVET_LINT_`` and the key in capitals.

    ``default_deployment_mode`` and ``ingress_domain`` are those in KServe's ConfigMap ``inferenceservice-config``; empty means unknown.
    ``kfp_backend`` is the release of KFP's backend that runs the compiled pipelines, such as ``2.5.0``.
    ``runtimes`` are the names of the platform's own ServingRuntimes and ClusterServingRuntimes. ``exclude`` are patterns in the syntax of
    ``.gitignore``, relative to the folder of this file, as those of ``paths`` are; the last of ``paths`` that matches a file wins.
    ``max_advice`` is the number of advice lines that are printed.
    """

    default_deployment_mode: str = field(default="", metadata={"choices": DEPLOYMENT_MODES})
    ingress_domain: str = ""
    kfp_backend: str = field(default="", metadata={"form": "MAJOR.MINOR.PATCH"})
    runtimes: tuple[str, ...] = field(default=(), metadata={"items": "names of runtimes"})
    exclude: tuple[str, ...] = field(default=(), metadata={"items": "patterns"})
    paths: tuple[LintPath, ...] = ()
    max_advice: int = 20

    def __post_init__(self) -> None:
        _check_choices(self)
        if self.kfp_backend and not re.fullmatch(r"\d+\.\d+\.\d+", self.kfp_backend):
            raise UsageError(
                f"kfp_backend is {self.kfp_backend!r}, which is no release of KFP's backend",
                remedy="write the tag of the API server's image, such as '2.5.0'",
            )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per key of ``[tool.trivet]``; the environment variable is ``TRIVET_`` and the key in capitals.

    ``stack`` is the name of a shipped stack or the path of a stack's folder; ``plugins`` are importable module names;
    ``report`` is the directory of the reports; empty for none. The default of ``profile`` depends on the target.
    ``store`` is the artifact store of the local target, ``files`` or ``s3``, and ``database`` MLflow's database there, ``sqlite`` or
    ``postgresql``; other targets have their own and ignore them. ``images`` is the source of container images: ``pull`` from
    their registries, or ``build`` from recipes; ``mirror`` is the URL of a registry to pull from before all others. ``addons`` are
    installed on clusters of the target kind in addition, such as ``pipelines``. With ``as_is`` that target neither creates nor completes
    its cluster.
    ``require_features`` are the features that the target must have: lacking one fails the run. ``waivers`` are known failures that do not
    fail, by names of your choice; ``waivers_file`` is a TOML file with more of them, a table each, relative to the folder of this file.
    """

    stack: str = "current"
    target: str = "local"
    profile: str = "core"
    plugins: tuple[str, ...] = field(default=(), metadata={"items": "module names"})
    report: str = ""
    store: str = "files"
    database: str = "sqlite"
    images: str = field(default="pull", metadata={"choices": IMAGE_SOURCES})
    mirror: str = ""
    addons: tuple[str, ...] = field(default=(), metadata={"items": "names of add-ons"})
    as_is: bool = False
    require_features: tuple[str, ...] = field(default=(), metadata={"items": "names of features"})
    waivers: Mapping[str, Waiver] = field(default_factory=dict)
    waivers_file: str = ""
    existing: Existing = field(default_factory=Existing)
    lint: Lint = field(default_factory=Lint)

    def __post_init__(self) -> None:
        _check_choices(self)


_KINDS = {"images": "source of images", "default_deployment_mode": "deployment mode"}


def _check_choices(settings: Any) -> None:
    """Raise UsageError for a value that is not among the choices of its field; a default is always allowed."""
    for one in fields(settings):
        value, allowed = getattr(settings, one.name), one.metadata.get("choices")
        if allowed and value not in allowed and value != one.default:
            raise unknown(_KINDS[one.name], value, allowed)
