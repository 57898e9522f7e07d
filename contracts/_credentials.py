"""How the storage initializer gets its credentials: from the Secrets of the service's ServiceAccount, or from a storage key.

Read at ``pkg/credentials/service_account_credentials.go`` of KServe 0.14.1 and 0.20.0. Judges only objects that are applied with the
service.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from typing import Any

from trivet.authoring import Resource
from trivet.contracts._rules import FRAMEWORKS, Rules, Service, Violation, each, mapping, path, text

CREDENTIALS = Rules("kserve", "kserve")

_SOURCE = "pkg/credentials/service_account_credentials.go"

_KINDS = {
    "awsSecretAccessKey": "s3",
    "gcloud-application-credentials.json": "gs",
    "AZ_CLIENT_ID": "azure",
    "AZURE_CLIENT_ID": "azure",
    "AZURE_STORAGE_ACCESS_KEY": "azure",
    "AZURE_ACCESS_TOKEN": "azure",
    "https-host": "https",
    "HDFS_NAMENODE": "hdfs",
    "HF_TOKEN": "hf",
}
"""The key by which KServe recognises a Secret's credentials, in its order, and the scheme that they are for."""

_TYPES = ("s3", "hdfs", "webhdfs")


def _keys(secret: Resource) -> Mapping[str, Any]:
    return {**mapping(secret.document.get("data")), **mapping(secret.document.get("stringData"))}


def _kind(secret: Resource) -> str:
    keys = _keys(secret)
    return next((kind for key, kind in _KINDS.items() if key in keys), "")


def _uris(settings: Mapping[str, Any]) -> list[str]:
    uris = [text(mapping(settings.get(name)).get("storageUri")) for name in ("model", *FRAMEWORKS, "art")]
    uris += [text(entry.get("uri")) for _, entry in each(settings.get("storageUris"), ())]
    for _, container in each(settings.get("containers"), ()):
        uris += [
            text(variable.get("value"))
            for _, variable in each(container.get("env"), ())
            if variable.get("name") == "STORAGE_URI"
        ]
    return [uri for uri in uris if uri]


@CREDENTIALS.rule(f"{_SOURCE}, CreateSecretVolumeAndEnv, mountSecretCredential")
def secrets_of_the_service_account(service: Service) -> Iterator[Violation]:
    namespace = text(service.metadata.get("namespace"))
    for keys, settings in service.components:
        uris = _uris(settings)
        account = service.platform.find(
            "ServiceAccount", text(settings.get("serviceAccountName")) or "default", namespace
        )
        if not uris or account is None:
            continue
        where = (*keys, "serviceAccountName")
        listed = [text(entry.get("name")) for _, entry in each(account.document.get("secrets"), ())]
        found = [
            one for name in listed if (one := service.platform.find("Secret", name, namespace or account.namespace))
        ]
        for secret in found:
            if not _kind(secret):
                yield Violation(
                    where,
                    f"the Secret {secret.name}, which the ServiceAccount {account.name} lists, has none of the keys that KServe reads "
                    f"({', '.join(_KINDS)}), only {', '.join(map(str, _keys(secret))) or 'none'}",
                )
        scheme = uris[0].partition("://")[0]
        others = _with_credentials(service, scheme, listed)
        if len(found) == len(listed) and not any(_kind(one) == scheme for one in found) and others:
            lists = f"lists {', '.join(listed)}" if listed else "lists no secrets"
            if not mapping(mapping(account.document.get("metadata")).get("annotations")).get(
                "eks.amazonaws.com/role-arn"
            ):
                yield Violation(
                    where,
                    f"the ServiceAccount {account.name} {lists}, and not {others[0]}, which has the credentials for {uris[0]}",
                )


def _with_credentials(service: Service, scheme: str, but: list[str]) -> list[str]:
    """The Secrets among the applied objects with credentials for a scheme."""
    return [
        name
        for (kind, name), found in service.platform.resources.items()
        if kind == "Secret" and name not in but and _kind(found[0]) == scheme
    ]


@CREDENTIALS.rule(f"{_SOURCE}, CreateSecretVolumeAndEnv: the ServiceAccount default is taken where none is named")
def service_account_is_named(service: Service) -> Iterator[Violation]:
    for keys, settings in service.components:
        uris = _uris(settings)
        if (
            not uris
            or settings.get("serviceAccountName")
            or "serving.kserve.io/storageSecretName" in service.annotations
        ):
            continue
        scheme = uris[0].partition("://")[0]
        accounts = [
            (name, entry.get("name"))
            for (kind, name), found in service.platform.resources.items()
            if kind == "ServiceAccount" and name != "default" and _same_namespace(service, found[0])
            for _, entry in each(found[0].document.get("secrets"), ())
        ]
        for secret in _with_credentials(service, scheme, []):
            account = next((name for name, listed in accounts if listed == secret), None)
            if account:
                yield Violation(
                    keys,
                    f"{path(keys)} names no serviceAccountName, so the ServiceAccount {account} with the "
                    f"credentials for {uris[0]} is not used",
                    f"whether the ServiceAccount default of the namespace lists the Secret {secret} too",
                )
                break


def _same_namespace(service: Service, resource: Resource) -> bool:
    return text(service.metadata.get("namespace")) in ("", resource.namespace) or not resource.namespace


@CREDENTIALS.rule(f"{_SOURCE}, CreateStorageSpecSecretEnvs")
def storage_key(service: Service) -> Iterator[Violation]:
    name = text(service.annotations.get("serving.kserve.io/storageSecretName")) or "storage-config"
    secret = service.platform.find("Secret", name, text(service.metadata.get("namespace")))
    if secret is None:
        return
    for component in ("model", *FRAMEWORKS):
        storage = mapping(mapping(service.predictor.get(component)).get("storage"))
        key = text(storage.get("key"))
        at = ("spec", "predictor", component, "storage", "key")
        if not key:
            continue
        keys = _keys(secret)
        if key not in keys:
            yield Violation(at, f"the Secret {name} has no key {key!r}; it has {', '.join(map(str, keys)) or 'none'}")
            continue
        yield from _storage_entry(
            at, f"{key} of the Secret {name}", _entry(secret, key), mapping(storage.get("parameters"))
        )


def _entry(secret: Resource, key: str) -> Any:
    """The JSON of a storage key; None if it is none."""
    plain = mapping(secret.document.get("stringData")).get(key)
    try:
        value = plain if isinstance(plain, str) else base64.b64decode(text(_keys(secret)[key])).decode()
        return json.loads(value)
    except (ValueError, binascii.Error):
        return None


def _storage_entry(at: Any, what: str, entry: Any, parameters: Mapping[str, Any]) -> Iterator[Violation]:
    if not isinstance(entry, dict):
        yield Violation(at, f'{what} is no JSON object, such as {{"type": "s3", "bucket": …}}')
        return
    kind = parameters.get("type") or entry.get("type")
    if not kind:
        yield Violation(
            at, f"{what} has no type, so that KServe cannot determine the storage type; use one of {', '.join(_TYPES)}"
        )
    elif kind not in _TYPES:
        yield Violation(at, f"{what} is of type {kind!r}; KServe supports {', '.join(_TYPES)}")
    elif kind == "s3" and not entry.get("bucket") and not parameters.get("bucket"):
        yield Violation(at, f"{what} is of type s3 and names no bucket, and neither do the parameters")
