"""What the user asks for, as data. Reading it from files and the environment is ``trivet.settings``' work."""

from __future__ import annotations

from dataclasses import dataclass, field

from trivet.errors import unknown

IMAGE_SOURCES = ("pull", "build")


@dataclass(frozen=True, kw_only=True)
class Existing:
    """``[tool.trivet.existing]``: the user's own cluster, for the target ``existing``. The environment variable of a key is
    ``TRIVET_EXISTING_`` and the key in capitals.

    ``context`` is never guessed, ``kubeconfig`` is where kubectl looks when empty. Both namespaces exist; ``service_account`` is what
    services run as there (empty: the namespace's default), ``store_secret`` a Secret in both with AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY. ``tracking_uri`` and ``store_endpoint`` are as pods reach them (the latter empty for AWS itself); ``ingress``,
    ``tracking_url`` and ``prometheus_url`` as this machine does: without a tracking URL a port is forwarded, without Prometheus there are
    no metrics. Images are by default the stack's own where upstream publishes one.
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
    ``report`` is the directory that reports are written to, none when empty. ``profile``, where nothing names one, follows the target.
    ``store`` and ``database`` say what the local target keeps artefacts and MLflow's records in: ``files`` or ``s3``, ``sqlite`` or
    ``postgresql``; other targets have their own and take no notice. ``images`` says where container images come from: ``pull`` from
    their registries, or ``build`` from recipes; ``mirror`` is the URL of a registry that stands before all others when they are pulled.
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
