"""What deploying needs of Kubernetes' API: reading, creating and replacing single objects, and lists by label.

:class:`KubernetesApi` is the protocol that :mod:`trivet.integration.deployment` is written against, and :func:`connect` its implementation
over Kubernetes' official Python client, which the extra ``trivet[kubernetes]`` installs. It neither watches nor knows any kind of object.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trivet.errors import PlatformError, UsageError

Object = dict[str, Any]

FIELD_MANAGER = "trivet"
"""The name under which the API server records who set a field (``metadata.managedFields``)."""

REQUEST_TIMEOUT = 30.0
"""Seconds that one request to the API server may take."""

OLDEST_CLIENT = (30, 1)
"""The oldest release of Kubernetes' client that is supported, as in the extra: 26.1 has no ``field_validation`` of custom objects."""


@dataclass(frozen=True)
class Resource:
    """A namespaced resource of the API: ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version


INFERENCE_SERVICES = Resource("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService")
KNATIVE_REVISIONS = Resource("serving.knative.dev", "v1", "revisions", "Revision")
PODS = Resource("", "v1", "pods", "Pod")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")

NO_SUCH_RESOURCE = "NoSuchResource"
"""The ``reason`` of an error when the API server does not have the resource at all: it answers 404 with a text, not with a Status."""


class KubernetesError(PlatformError):
    """The API server rejected a request or is not reachable.

    ``status`` is the HTTP status, 0 when there was no answer; ``reason`` is Kubernetes' (``Forbidden``, ``Invalid`` …).
    """

    def __init__(self, message: str, *, remedy: str = "", status: int = 0, reason: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.reason = reason


class ConflictError(KubernetesError):
    """The object changed since it was read, or one of this name exists already (HTTP 409). Read it again before another attempt."""


class KubernetesApi(Protocol):
    """The requests of the API server that deploying needs. Every method raises KubernetesError."""

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object as the API server stores it, or None when there is none of this name."""

    def list(self, resource: Resource, namespace: str, *, labels: Mapping[str, str]) -> list[Object]:
        """The objects that have all these labels."""

    def create(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        """Create the object and return it as stored. Raises ConflictError when one of this name exists."""

    def replace(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        """Replace the object whose ``metadata.resourceVersion`` is that of ``document``, and return it as stored.

        Raises ConflictError when it has another one by now, and KubernetesError with status 404 when it was deleted.
        """

    def delete(self, resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> None:
        """Delete the object, if there is one; with ``resource_version`` only if that is still its version, else ConflictError."""


def connect(*, kubeconfig: str | Path | None = None, context: str | None = None) -> KubernetesApi:
    """The API server of ``context`` in ``kubeconfig`` (default: ``$KUBECONFIG``, else ``~/.kube/config``, and its current context); in a
    pod, with neither given and no kubeconfig there, that of the cluster, with the pod's ServiceAccount.

    Raises UsageError when the extra is not installed or too old, or when there is no such context or no configuration.
    """
    client, config = _client()
    configuration = client.Configuration()
    stated = str(kubeconfig or os.environ.get("KUBECONFIG") or "")
    try:
        if stated or context or Path("~/.kube/config").expanduser().exists():
            config.load_kube_config(
                config_file=stated or None, context=context, client_configuration=configuration, persist_config=False
            )
        else:
            config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise UsageError(
            f"cannot connect to {f'context {context!r} of ' if context else ''}{stated or 'the cluster'}: {error}",
            remedy="name a kubeconfig that exists and one of its contexts (`kubectl config get-contexts`); a pod needs a "
            "ServiceAccount whose token is mounted",
        ) from error
    # Its own retries would repeat a request whose answer was lost, and so turn a success into a conflict.
    configuration.retries = False
    return _OfficialClient(client, client.ApiClient(configuration))


def _client() -> tuple[Any, Any]:
    """The modules ``client`` and ``config`` of Kubernetes' Python client. Raises UsageError without one from OLDEST_CLIENT on."""
    try:
        import kubernetes
        from kubernetes import client, config
    except ImportError as error:
        raise UsageError(
            "Kubernetes' Python client is not installed", remedy="pip install 'trivet[kubernetes]'"
        ) from error
    release = tuple(int(part) for part in re.findall(r"\d+", kubernetes.__version__)[:2])
    if release < OLDEST_CLIENT:
        raise UsageError(
            f"Kubernetes' Python client is {kubernetes.__version__}, and 30.1 is the oldest that is supported",
            remedy="pip install 'trivet[kubernetes]'; KFP's SDK allows it from 2.9 on",
        )
    return client, config


class _OfficialClient:
    """:class:`KubernetesApi` over the package ``kubernetes``, 30.1 to 37.0.

    ``CustomObjectsApi`` takes any resource of a group, built-in ones too, as plain JSON; those of the core group have methods of their
    own, whose models it turns into JSON again.
    """

    _CORE: Mapping[str, str] = {PODS.plural: "pod", CONFIG_MAPS.plural: "config_map", SECRETS.plural: "secret"}

    def __init__(self, client: Any, api: Any) -> None:
        self._client = client
        self._api = api
        self._custom = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        try:
            return self._call("get", resource, namespace, name)
        except KubernetesError as error:
            if error.status != 404 or error.reason == NO_SUCH_RESOURCE:
                raise
            return None

    def list(self, resource: Resource, namespace: str, *, labels: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return list(self._call("list", resource, namespace, "", label_selector=selector).get("items") or ())

    def create(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        return self._write("create", resource, document, field_manager)

    def replace(self, resource: Resource, document: Mapping[str, Any], *, field_manager: str = FIELD_MANAGER) -> Object:
        if not document["metadata"].get("resourceVersion"):
            raise UsageError(
                f"{resource.kind} {document['metadata'].get('name')} has no resourceVersion",
                remedy="replace an object that get returned, so that no other writer's change is lost",
            )
        return self._write("replace", resource, document, field_manager)

    def delete(self, resource: Resource, namespace: str, name: str, *, resource_version: str = "") -> None:
        preconditions = self._client.V1Preconditions(resource_version=resource_version) if resource_version else None
        try:
            self._call(
                "delete", resource, namespace, name, body=self._client.V1DeleteOptions(preconditions=preconditions)
            )
        except KubernetesError as error:
            if error.status != 404 or error.reason == NO_SUCH_RESOURCE:
                raise

    def _write(self, verb: str, resource: Resource, document: Mapping[str, Any], field_manager: str) -> Object:
        metadata = document["metadata"]
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **document}
        return self._call(
            verb,
            resource,
            metadata["namespace"],
            "" if verb == "create" else metadata["name"],
            body=body,
            field_manager=field_manager,
            # A field that this release of KServe does not have is an error rather than dropped.
            field_validation="Strict",
        )

    def _call(self, verb: str, resource: Resource, namespace: str, name: str, **options: Any) -> Object:
        from urllib3.exceptions import HTTPError

        what = (
            f"{verb} {resource.kind} {namespace}/{name or options.get('body', {}).get('metadata', {}).get('name', '')}"
        )
        arguments: dict[str, Any] = {"namespace": namespace, "_request_timeout": REQUEST_TIMEOUT, **options}
        if name:
            arguments["name"] = name
        if resource.group:
            method = getattr(self._custom, f"{verb}_namespaced_custom_object")
            arguments |= {"group": resource.group, "version": resource.version, "plural": resource.plural}
        else:
            done = "read" if verb == "get" else verb
            method = getattr(self._core, f"{done}_namespaced_{self._CORE[resource.plural]}")
        try:
            answer: Object = self._api.sanitize_for_serialization(method(**arguments))
        except self._client.ApiException as error:
            raise _refusal(what, error) from error
        except (HTTPError, OSError) as error:
            raise KubernetesError(
                f"{what}: the API server is not reachable ({error})",
                remedy="check the kubeconfig and its context, and in a pod the NetworkPolicies on the way to the API server",
            ) from error
        return answer


def _refusal(what: str, error: Any) -> KubernetesError:
    """The error for an answer of the API server's, a Status in JSON."""
    try:
        status = json.loads(error.body or "")
        message, reason = str(status["message"]), str(status.get("reason", ""))
    except (ValueError, KeyError, TypeError):
        message, reason = str(error.body or error.reason).strip()[:500], NO_SUCH_RESOURCE if error.status == 404 else ""
    if error.status == 409:
        return ConflictError(f"{what}: {message}", status=409, reason=reason)
    remedy = {
        401: "the credentials of the kubeconfig or ServiceAccount are not valid, or no longer",
        403: "grant the user or ServiceAccount this verb on this resource: `kubectl auth can-i`, docs/integration.md lists what is needed",
        404: "install what serves this resource, or check the namespace and the name"
        if reason == NO_SUCH_RESOURCE
        else "",
    }.get(error.status, "")
    return KubernetesError(f"{what}: HTTP {error.status}: {message}", remedy=remedy, status=error.status, reason=reason)
