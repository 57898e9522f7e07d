"""The MLflow plugin of KFP's API server as the platform configures it, and what MLflow's server makes of its requests."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from packaging.version import Version

from trivet.authoring import CannotTell, Finding, PlatformConfig, Stack, inconclusive, not_applicable
from trivet.contracts.values import mapping

SINCE = (2, 17, 0)
"""The first release of KFP with the plugin (kubeflow/pipelines 9ca1c0b9b3)."""

SHIPPED: Mapping[str, Any] = {
    "endpoint": "https://mlflow.opendatahub.svc.cluster.local:8443",
    "timeout": "60s",
    "tls": {"insecureSkipVerify": False, "caBundlePath": "/etc/mlflow-tracking-ca/ca.crt"},
    "settings": {"workspacesEnabled": True},
}
"""``plugins.mlflow`` in the configuration that KFP 2.17.0 ships (backend/src/apiserver/config/config.json)."""

AUTH_TYPES = ("kubernetes", "bearer", "basic-auth", "none")
"""kubeflow/pipelines 2.17.0 backend/src/common/plugins/mlflow/client.go, IsSupportedAuthType."""

KEYS: Mapping[str, tuple[str, ...]] = {"bearer": ("tokenKey",), "basic-auth": ("usernameKey", "passwordKey")}
"""Kind of authentication → what ``credentialSecretRef`` must name (the same, config.go, BuildCredentialEnvVars)."""

SECRET = "kfp-mlflow-credentials"
WORKSPACE_HEADER = "X-MLflow-Workspace"

HOSTS_CHECKED_SINCE = Version("3.5.0")
"""The first MLflow whose server refuses hosts (mlflow/server/security_utils.py: 3.4.0 has no such file, 3.5.0 has)."""
WORKSPACES_SINCE = Version("3.10.0")
"""The first MLflow with workspaces (mlflow/server/workspace_helpers.py: 3.9.0 has no such file, 3.10.0 has)."""

_LOCAL = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")
ALLOWED_HOSTS = (
    *_LOCAL,
    *(f"{host}:*".replace("[::1]", "[[]::1]") for host in _LOCAL),
    *("192.168.*", "10.*", *(f"172.{number}.*" for number in range(16, 32)), "fc00:*", "fd00:*"),
)
"""mlflow 3.5.0 and 3.17.2 mlflow/server/security_utils.py, get_default_allowed_hosts."""

_ENDPOINT = re.compile(
    r"(?i)https?://(?:[^@/?#\s]*@)?(?P<host>(?:\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(?::[0-9]*)?)(?=[/?#]|$)(?!.*\s)"
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """``plugins.mlflow`` with the defaults of the API server.

    Source: kubeflow/pipelines 2.17.0 backend/src/apiserver/plugins/mlflow/config.go, ApplySettingsDefaults, DefaultTimeout.
    """

    release: str
    endpoint: str
    timeout: str
    auth: str
    workspaces: bool
    secret: Mapping[str, Any]
    experiment: str
    injects: bool
    authority: str
    insecure: bool

    @property
    def host(self) -> str:
        """What its requests have as ``Host``: the endpoint's, with the port if it is written there (Go net/http, Request.Write); empty for
        an endpoint that is no URL of HTTP.
        """
        return host_of(self.endpoint)

    @property
    def address(self) -> str:
        """The endpoint without a user and a password."""
        return redacted(self.endpoint)

    @property
    def encrypted(self) -> bool:
        """Whether its requests go over TLS."""
        return self.endpoint.lower().startswith("https://")


def release(platform: PlatformConfig) -> tuple[int, ...]:
    """The three numbers of the release of KFP's backend; empty if it is unknown."""
    numbers = [int(part) for part in re.findall(r"\d+", platform.kfp_backend)[:3]]
    return (*numbers, 0, 0)[:3] if numbers else ()


def has_plugin(platform: PlatformConfig) -> Finding | None:
    """Why the statements about the plugin do not apply to the backend; None if they do."""
    known = release(platform)
    if platform.kfp_stated and platform.kfp_stated != platform.kfp_backend:
        return inconclusive(
            f"the stack says that KFP's backend is {platform.kfp_stated}, and its API server says {platform.kfp_backend}",
            remedy="State under [pipelines] what runs, or judge the stack on the target local.",
        )
    if not known:
        return not_applicable("the release of KFP's backend is not known: add [pipelines] with `backend` to stack.toml")
    if known < SINCE:
        return not_applicable(f"KFP {platform.kfp_backend} has no plugin for MLflow; 2.17.0 is the first that has")
    return None


def configured(platform: PlatformConfig) -> Plugin | Finding:
    """The plugin as it is configured, or why the statement does not apply."""
    if reason := has_plugin(platform):
        return reason
    if platform.kfp_plugins is None:
        return not_applicable(
            "the API server's plugins are not stated: mlflow_plugin.shipped_configuration_is_replaced judges what the release ships"
        )
    if "mlflow" not in platform.kfp_plugins:
        return not_applicable("the API server's configuration has no plugins.mlflow: the plugin is off")
    if platform.kfp_multi_user:
        return inconclusive(
            "KFP's API server has several users: settings of their namespaces, which are not known, come before those of plugins.mlflow"
        )
    return read_plugin(mapping(platform.kfp_plugins["mlflow"]), platform.kfp_backend)


def asking(platform: PlatformConfig) -> Plugin | Finding:
    """The plugin that asks MLflow, or why the statement does not apply: one whose configuration is refused asks nothing."""
    plugin = configured(platform)
    if isinstance(plugin, Plugin) and not plugin.host:
        return not_applicable("the endpoint is no URL of HTTP, which mlflow_plugin.configuration_is_accepted judges")
    return plugin


def read_plugin(stated: Mapping[str, Any], backend: str) -> Plugin:
    """``stated`` with the API server's defaults."""
    settings, tls = mapping(stated.get("settings")), mapping(stated.get("tls"))
    auth = str(settings.get("authType") or "kubernetes")
    workspaces = settings.get("workspacesEnabled")
    return Plugin(
        release=backend,
        endpoint=str(stated.get("endpoint") or ""),
        timeout=str(stated.get("timeout") or "30s"),
        auth=auth,
        workspaces=auth == "kubernetes" if workspaces is None else bool(workspaces),
        secret=mapping(settings.get("credentialSecretRef")),
        experiment=str(settings.get("defaultExperimentName") or "KFP-Default"),
        injects=bool(settings.get("injectUserEnvVars")),
        authority=str(tls.get("caBundlePath") or ""),
        insecure=bool(tls.get("insecureSkipVerify")),
    )


def seconds(duration: str) -> float | None:
    """A duration of Go's in seconds; None for what is none (Go time.ParseDuration)."""
    text = duration.removeprefix("+").removeprefix("-")
    sign = -1.0 if duration.startswith("-") else 1.0
    if text == "0":
        return 0.0
    found = list(_DURATION.finditer(text))
    if not found or "".join(one[0] for one in found) != text:
        return None
    return sign * sum(float(one[1]) * _UNITS[one[2]] for one in found)


def server_version(stack: Stack) -> Version:
    """The version of MLflow's server. Raises CannotTell where the stack does not know it."""
    pins = stack.roles["tracking"].pins
    stated = pins.get("mlflow") or pins.get("mlflow-skinny")
    if not stated:
        raise CannotTell("the lock of the tracking server has no mlflow")
    return Version(stated)


def allowed_hosts(stack: Stack) -> Sequence[str] | None:
    """The hosts that MLflow's server answers by its environment in the stack; None if it answers all."""
    environment = stack.roles["tracking"].environment
    switched_off = environment.get("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "").lower()
    if server_version(stack) < HOSTS_CHECKED_SINCE or switched_off in ("1", "true", "t", "yes", "y", "on"):
        return None
    stated = environment.get("MLFLOW_SERVER_ALLOWED_HOSTS", "")
    hosts = [host.strip() for host in stated.split(",")] if stated else list(ALLOWED_HOSTS)
    return None if "*" in hosts else hosts


def host_is_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether MLflow's server answers requests to a host (mlflow 3.17.2 mlflow/server/security_utils.py, is_allowed_host_header)."""
    return any(fnmatch(host, one) if "*" in one else host == one for one in allowed)


def has_workspaces(stack: Stack) -> bool | None:
    """Whether MLflow's server has workspaces; None if it knows of none, and ignores the header."""
    if server_version(stack) < WORKSPACES_SINCE:
        return None
    return _is_true(stack.roles["tracking"].environment.get("MLFLOW_ENABLE_WORKSPACES"))


def host_of(address: str) -> str:
    """Host and port of a URL of HTTP as they are written there; empty for what is no such URL."""
    found = _ENDPOINT.match(address)
    return found["host"].removesuffix(":") if found else ""


def redacted(address: str) -> str:
    """A URL without a user and a password."""
    return re.sub(r"//[^/?#]*@", "//", address)


def _is_true(value: str | None) -> bool:
    """mlflow 3.17.2 mlflow/environment_variables.py, _BooleanEnvironmentVariable."""
    return str(value).lower() in ("true", "1")
