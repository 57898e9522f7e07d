"""What the user says of a cluster of their own. Read by ``trivet.settings``, which is loaded early, so this imports nothing."""

from __future__ import annotations

from dataclasses import dataclass


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
