"""Settings as data. ``trivet.settings`` reads them from files and the environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from trivet.errors import unknown

IMAGE_SOURCES = ("pull", "build")


@dataclass(frozen=True, kw_only=True)
class Existing:
    """``[tool.trivet.existing]``: the user's own cluster, for the target ``existing``. The environment variable of a key is
    ``TRIVET_EXISTING_`` and the key in capitals.

    ``context`` is required; an empty ``kubeconfig`` means kubectl's default. Both namespaces must exist; ``service_account`` is that of the
    services (empty: the namespace's default), ``store_secret`` a Secret in both namespaces with AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY. ``tracking_uri`` and ``store_endpoint`` are addresses for pods (the latter empty for AWS itself); ``ingress``,
    ``tracking_url`` and ``prometheus_url`` are addresses for this machine: without a tracking URL trivet forwards a port, without
    Prometheus there are no metrics. Images default to those that upstream publishes for the stack.
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


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per key of ``[tool.trivet]``; the environment variable is ``TRIVET_`` and the key in capitals.

    ``stack`` is the name of a shipped stack or the path of a stack's folder; ``plugins`` are importable module names;
    ``report`` is the directory of the reports; empty for none. The default of ``profile`` depends on the target.
    ``store`` is the artifact store of the local target, ``files`` or ``s3``, and ``database`` MLflow's database there, ``sqlite`` or
    ``postgresql``; other targets have their own and ignore them. ``images`` is the source of container images: ``pull`` from
    their registries, or ``build`` from recipes; ``mirror`` is the URL of a registry to pull from before all others.
    """

    stack: str = "current"
    target: str = "local"
    profile: str = "core"
    plugins: tuple[str, ...] = ()
    report: str = ""
    store: str = "files"
    database: str = "sqlite"
    images: str = "pull"
    mirror: str = ""
    existing: Existing = field(default_factory=Existing)

    def __post_init__(self) -> None:
        if self.images not in IMAGE_SOURCES:
            raise unknown("source of images", self.images, IMAGE_SOURCES)
