"""The session of a stack on a cluster: its pods, and its clients.

The pipeline runs on KFP's backend, where trivet's own cluster has it. Elsewhere it runs in a pod of the pipeline namespace: its steps are
KFP components under the SDK's local runner. The InferenceService from its deployment step is applied unchanged; KServe's controller,
webhook, storage initializer, runtime and ingress do the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests

from trivet.errors import CannotTell, NotOffered, PlatformError, TrivetError
from trivet.host.journal import Run
from trivet.host.processes import Processes
from trivet.host.worker import Worker
from trivet.integration import build_inference_service
from trivet.integration.inference_service import KNATIVE_MODES, STANDARD_MODES
from trivet.integration.pipeline_api import PipelineApi
from trivet.model import feature
from trivet.model.detection import Fact
from trivet.model.events import Emit
from trivet.model.handover import PipelineRun
from trivet.model.network import NetworkPath
from trivet.model.platform_config import PlatformConfig
from trivet.model.rollout import Rollout
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess, PipelinesAccess
from trivet.targets.cluster import features, limits
from trivet.targets.cluster.client import Cluster
from trivet.targets.cluster.evidence import EvidenceCollector
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.metrics import Prometheus
from trivet.targets.cluster.namespaces import SECRET, Namespaces, make_namespaces, remove_namespaces
from trivet.targets.cluster.pipeline_backend import RUN_LABEL, PipelineBackend
from trivet.targets.cluster.pipeline_steps import MOUNT, StepSecret, step_secret
from trivet.targets.cluster.platform_reader import api_groups, knative_version, kserve_version, kubernetes_version
from trivet.targets.cluster.pods import HOME, JobPod, PodWorker, pod_document
from trivet.targets.cluster.proxy import ApiProxy, start_forwarding
from trivet.targets.cluster.reader import ApiReader
from trivet.targets.cluster.serving import Services
from trivet.targets.cluster.store import ClusterStore
from trivet.targets.cluster.traffic import Traffic
from trivet.targets.common.clients import HttpServing, WorkerRuntime
from trivet.targets.common.parts import Part, result_or_none, start
from trivet.targets.common.session import SERVICE, HandoverSession, PipelineExecution, Tracking
from trivet.toolkit.rollout import drive

ROLES = ("trainer", "initializer", "runtime")
POD_LABEL = "trivet.dev/pod"
CODE, DATA = "python", "data/recommendation.csv"


class ClusterSession(HandoverSession):
    """A session on the cluster of ``access``. ClusterTarget creates and ends it."""

    CLIENTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **HandoverSession.CLIENTS,
        "cluster": lambda session: session._cluster,
        "metrics": lambda session: session._metrics(),
        "traffic": lambda session: session._traffic,
        "rollout": lambda session: session._driven_rollout(),
        "pipeline_backend": lambda session: session._backend.result(),
        "faults": lambda session: ClusterFaults(session.access, session.namespaces, session._run),
    }

    PARTS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **{name: parts for name, parts in HandoverSession.PARTS.items() if name not in ("serving", "running_versions")},
        "pipeline_backend": HandoverSession.PARTS["pipelines"],
    }
    """Those of the clients whose answers follow from what the cluster is made from. What is served, measured or changed there is not."""

    def __init__(
        self, stack: Stack, run: Run, processes: Processes, emit: Emit, access: ClusterAccess, target: str
    ) -> None:
        self.target = target
        self.access = access
        self.artifact_root = access.store.root.rstrip("/")
        self.namespaces: Namespaces = make_namespaces(access, run)
        self.experiment = f"trivet-{self.namespaces.id}"
        self.registered = f"{SERVICE}-{self.namespaces.id}"
        if not access.owned:
            self.service = self.registered
        super().__init__(stack, run, processes, emit)

    def _prepare(self) -> None:
        kubectl = self.access.kubectl
        self._folders = count(1)
        self._pods: dict[str, Future[JobPod]] = {role: self._pool.submit(self._start_pod, role) for role in ROLES}
        self._installed = features.installed_features(kubectl, self.access.prometheus_url)
        self._proxy = ApiProxy(self._processes, kubectl)
        reader = self._reader = ApiReader(self._proxy)
        self._evidence = EvidenceCollector(
            self.directory / "evidence",
            reader,
            self.namespaces,
            literals=(self.access.store.secret_key,),
            knative=feature.KNATIVE in self._installed,
        )
        self._cluster = Cluster(
            self.access,
            self.namespaces,
            evidence=self._evidence,
            proxy=self._proxy,
            reader=reader,
            paths=self._paths,
        )
        self._services = Services(
            self.access,
            self._cluster,
            evidence=self._evidence,
            proxy=self._proxy,
            build=self.service_document,
            stop=self._processes.closed,
        )
        self._traffic = Traffic(self._services.infer_address)
        self._policies = self._part(self._measure_policies)
        self._backend = Part(lambda: self._pool.submit(self._find_backend))
        self._health: Mapping[str, Any] = {}
        self._step_secret = Part(lambda: self._pool.submit(self._make_step_secret))
        self._rollout: Future[Rollout] | None = None
        self._rollout_lock = Lock()
        Thread(
            target=self._evidence.watch, args=(self._processes.closed,), name="trivet-conditions", daemon=True
        ).start()

    # -- what a session offers

    def features(self) -> Mapping[str, str]:
        """The features of the installed components, of NetworkPolicies, and of the pipeline's runner."""
        enforced = result_or_none(self._policies)
        measured = {feature.NETWORK_POLICY_ENFORCED: enforced} if enforced else {}
        return {**self._installed, **measured, **self._backend_features(), **super().features()}

    def describe(self) -> Mapping[str, str]:
        """A description of the handover and of the cluster, for the report."""
        return {
            **super().describe(),
            "context": self.access.kubectl.context,
            "namespaces": f"{self.namespaces.pipelines}, {self.namespaces.serving}",
            "pipeline runner": "KFP's backend" if self._runs_on_backend else "the local runner of KFP's SDK",
            **self.access.notes,
        }

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """The files of the handover; with ``everything`` also events, logs, manifests and conditions, collected now."""
        if everything:
            self._evidence.collect()
        return {**super().documents(everything), **(self._evidence.documents() if everything else {})}

    def service_document(self, name: str, storage_uri: str) -> dict[str, Any]:
        """The core library's InferenceService for another model than the pipeline's; a generated name when ``name`` is empty."""
        deployment = dict(self._deployment())
        deployment["cpu_target"] = deployment["cpu_target"] or None
        return build_inference_service(
            name=name or f"further-{next(self._folders)}-{self.namespaces.id}",
            storage_uri=storage_uri,
            run_id=self.namespaces.id,
            pipeline="trivet",
            model_name="further",
            model_version="1",
            **deployment,
        )

    def delete_artifacts(self) -> None:
        """Delete the session's experiments, models and objects from the MLflow and the store of a user's cluster; errors are ignored."""
        if self.access.owned:
            return
        with suppress(Exception):
            self._trainer.result(timeout=0).call("delete_artifacts", experiments=self.experiment)
        with suppress(Exception):
            store = self._store.result(timeout=0)
            assert isinstance(store, ClusterStore)
            store.remove()

    # -- KFP's backend

    def _backend_features(self) -> Mapping[str, str]:
        health = self._backend_health()
        release = health.get("tag_name") or "unknown"
        return {feature.PIPELINE_BACKEND: f"its /healthz answers, release {release}"} if health else {}

    def _backend_health(self) -> Mapping[str, Any]:
        """What the API server says of itself, asked until it answers; empty when there is none, or when it does not answer."""
        if self.access.pipelines is not None and not self._health:
            with suppress(TrivetError):
                self._health = self._pipeline_api(self.access.pipelines).health()
        return self._health

    def observed_platform(self, described: PlatformConfig) -> PlatformConfig:
        """Whose cluster it is, and what KFP's API server says of itself, if there is one."""
        if not self.access.owned:
            described = replace(described, is_users=True, tracking_uri=self.access.tracking_uri)
        if self.access.pipelines is not None:
            multi_user = self._backend_health().get("multi_user") is True
            described = replace(described, kfp_namespace=self.access.pipelines.namespace, kfp_multi_user=multi_user)
        release = str(self._backend_health().get("tag_name") or "")
        known = re.fullmatch(r"\d+\.\d+\.\d+", release)
        return replace(described, kfp_backend=release) if known else described

    def _pipeline_api(self, access: PipelinesAccess) -> PipelineApi:
        return PipelineApi(
            access.url or (lambda: self._proxy.service(access.namespace, access.service, access.port)),
            timeout=limits.PIPELINE_API,
        )

    def _find_backend(self) -> PipelineBackend:
        access = self.access.pipelines
        if access is None:
            raise NotOffered("KFP's backend is not on this cluster: pipelines run under the SDK's local runner")
        return PipelineBackend(
            self._pipeline_api(access),
            self._reader,
            namespace=access.namespace,
            step_image=access.step_image,
            experiment=self.experiment,
            compile=lambda probe: str(self._driver.result().call("compile", probe=probe)),
            environment=self._tracking_environment(self.access.tracking_uri),
            started=lambda run_id: self._run.add_cleanup(
                f"run {run_id} of KFP",
                self.access.kubectl.argv(
                    *("delete", "workflows.argoproj.io", "-n", access.namespace, "-l", f"{RUN_LABEL}={run_id}"),
                    *("--ignore-not-found", "--wait=false"),
                ),
            ),
            stop=self._processes.closed,
        )

    def remove_runs(self) -> None:
        """End and delete the runs that the session started on KFP's backend; ``remove`` returns which remain."""
        if backend := self._used_backend:
            backend.remove()

    @property
    def _used_backend(self) -> PipelineBackend | None:
        return result_or_none(self._backend) if self._backend.started else None

    @property
    def _step_secret_name(self) -> str:
        return f"trivet-steps-{self.namespaces.id}"

    @property
    def _step_data(self) -> str:
        """The file with the training data in a step: another one in each session, since KFP's cache compares paths and no contents."""
        return f"recommendation-{self.namespaces.id}.csv"

    @property
    def _runs_on_backend(self) -> bool:
        return self.access.owned and self.access.pipelines is not None

    def _make_step_secret(self) -> StepSecret:
        """The Secret with trivet's packages, the data and the store's credentials, in the namespace of KFP's runs."""
        access, store = self.access.pipelines, self.access.store
        assert access is not None
        secret = step_secret(
            self._step_secret_name,
            code=self._staged,
            files={self._step_data: self._data},
            variables={"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key},
        )
        self._run.add_cleanup(
            f"Secret {secret.name} of KFP's steps", self.access.kubectl.argv(*_secret_deletion(access, secret.name))
        )
        self.access.kubectl.apply(secret.document(access.namespace, self.namespaces.label))
        return secret

    def _execute(
        self,
        driver: Worker,
        uri: str,
        arguments: Mapping[str, Any],
        environment: Mapping[str, str],
        pipeline: Path | None = None,
    ) -> PipelineExecution:
        if not self._runs_on_backend:
            return super()._execute(driver, uri, arguments, environment, pipeline)
        compiled = (
            driver.call("compile", file=self._job_path("trainer", pipeline))
            if pipeline
            else self._compiled.result().read_text(encoding="utf-8")
        )
        start(self._backend, self._step_secret)
        defaults = {"data_path": f"{MOUNT}/{self._step_data}", "service_name": self.service}
        all_arguments = {**defaults, **self._deployment(), **arguments}
        run = self._backend.result().run(
            compiled,
            all_arguments,
            environment={**self._store_environment(), **self._tracking_environment(uri), **environment},
            secret=self._step_secret.result(),
        )
        outputs = {name: task.outputs for name, task in run.tasks.items() if task.exit_code == 0}
        error = "" if run.succeeded else f"KFP's API server says {run.state}"
        return PipelineExecution(
            run=PipelineRun(succeeded=run.succeeded, outputs=outputs, log=run.log), arguments=all_arguments, error=error
        )

    # -- pods and workers

    def _namespace_of(self, role: str) -> str:
        return self.namespaces.pipelines if role == "trainer" else self.namespaces.serving

    def _start_pod(self, role: str) -> JobPod:
        access = self.access
        if role not in access.images:
            raise NotOffered(f"there is no pod of the role {role} on this cluster: no image is configured for it")
        name = f"trivet-{role}-{self.namespaces.id}"
        document = pod_document(
            name,
            namespace=self._namespace_of(role),
            image=access.images[role],
            labels={**self.namespaces.label, POD_LABEL: name},
            environment={**self._role_environment(role), **self._store_environment()},
            secret=self._secret(role),
            pull_policy=access.pull_policy,
        )
        with self._phase(f"{role} pod"):
            access.kubectl.apply(document)
            pod = JobPod(access.kubectl, name, self._namespace_of(role))
            pod.wait(self._processes.closed)
            entries = [(self._staged, CODE)]
            if role == "trainer":
                entries.append((self._data, DATA))
            pod.put(entries)
            return pod

    def _secret(self, role: str) -> str:
        """The name of the Secret with the store's credentials for a job pod; empty for the runtime, which needs none."""
        if role == "runtime":
            return ""
        if self.access.owned:
            return SECRET
        return self.access.store.secret

    def _role_environment(self, role: str) -> Mapping[str, str]:
        try:
            return self._stack.roles[role].environment
        except CannotTell:
            return {}  # an unknown role of the user's cluster: its image is in the settings

    def _store_environment(self) -> dict[str, str]:
        """Variables with the store's address for boto3, MLflow and KServe's code: those of KServe's controller, and MLflow's."""
        store = self.access.store
        environment = {"AWS_DEFAULT_REGION": store.region}
        if store.endpoint:
            environment |= {
                "AWS_ENDPOINT_URL": store.endpoint,
                "MLFLOW_S3_ENDPOINT_URL": store.endpoint,
                "S3_ENDPOINT": store.endpoint.partition("://")[2],
                "S3_USE_HTTPS": "1" if store.endpoint.startswith("https:") else "0",
                "S3_VERIFY_SSL": "1",
                "awsAnonymousCredential": "false",
            }
        return environment

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        return PodWorker(self._processes, name, self._pods[role].result(), job)

    def _runtime_client(self) -> WorkerRuntime:
        self._pods["runtime"].result()
        return self._runtime

    def _job_path(self, role: str, path: Path) -> str:
        if path == self._data:
            return f"{HOME}/{DATA}"
        return self._pods[role].result().upload(path)

    def _outputs(self, driver: Worker) -> str:
        return f"{HOME}/outputs/{next(self._folders):04d}"

    # -- the platform's parts

    def _versions(self) -> Mapping[str, Fact]:
        kubectl = self.access.kubectl
        groups = api_groups(kubectl)
        of_cluster = (kubernetes_version(kubectl), kserve_version(kubectl, groups), knative_version(kubectl, groups))
        return {**super()._versions(), **{fact.name: fact for fact in of_cluster}}

    def _deployment(self) -> Mapping[str, Any]:
        knative = feature.KNATIVE in self._installed
        known = self._stack.settings["serving"]["deployment_modes"]
        modes = KNATIVE_MODES if knative else STANDARD_MODES
        return {
            "namespace": self.namespaces.serving,
            "deployment_mode": next((mode for mode in reversed(modes) if mode in known), modes[0]),
            "min_replicas": 1,
            # Without Knative's HPA extension no controller handles a PodAutoscaler of its class, and the revision never becomes ready.
            "cpu_target": 70 if feature.CPU_AUTOSCALING in self._installed or not knative else 0,
        }

    def _start_tracking(self) -> Tracking:
        uri, url = self.access.tracking_uri, self.access.tracking_url or self._forward_tracking()

        def look() -> bool | None:
            with requests.Session() as session:
                session.trust_env = bool(self.access.tracking_url)
                with suppress(requests.RequestException):
                    return True if session.get(f"{url}/health", timeout=5).status_code == 200 else None
            return None

        self.access.kubectl.wait_for(
            f"the tracking server to respond at {url}/health",
            look,
            timeout=limits.TRACKING,
            stop=self._processes.closed,
        )
        return Tracking(uri=uri, url=url)

    def _forward_tracking(self) -> str:
        """The URL of a local port that is forwarded to the tracking server's Service."""
        host, port = urlsplit(self.access.tracking_uri).hostname or "", urlsplit(self.access.tracking_uri).port or 80
        match = re.fullmatch(r"([\w-]+)\.([\w-]+)(\.svc(\..+)?)?", host)
        if not match:
            raise PlatformError(
                f"cannot forward a port to {self.access.tracking_uri}: its host is not that of a Service",
                remedy="set the URL for this machine: tracking_url in [tool.trivet.existing]",
            )
        command = self.access.kubectl.argv("port-forward", "-n", match[2], f"service/{match[1]}", f":{port}")
        _, url = start_forwarding(self._processes, "tracking port", command, r"Forwarding from (127\.0\.0\.1:\d+)")
        return url

    def _make_store(self) -> ClusterStore:
        return ClusterStore(
            artifact_root=self.artifact_root,
            root=f"{self.artifact_root}/trivet-{self.namespaces.id}",
            downloads=self.directory / "downloads",
            store=self._worker("initializer", "store", "store"),
            initializer=self._worker("initializer", "storage initializer", "initializer"),
        )

    def _serve(self) -> HttpServing:
        service = dict(self._handover.result().service)
        if account := self.access.store.service_account:
            spec = service["spec"]
            predictor = {**spec["predictor"], "serviceAccountName": account}
            service["spec"] = {**spec, "predictor": predictor}
        with self._phase("runtime") as failed:
            serving = self._services.serve(service)
            if not serving.ready:
                failed(serving.failure)
            return serving

    def _metrics(self) -> Prometheus:
        if not self.access.prometheus_url:
            raise NotOffered("no Prometheus is configured for this cluster")
        return Prometheus(self.access.prometheus_url)

    def _measure_policies(self) -> str:
        source, listener = self._pods["initializer"].result(), self._pods["runtime"].result()
        with self._phase("network policies"):
            return features.enforced_network_policy(self.access.kubectl, self.namespaces, source, listener)

    def _driven_rollout(self) -> Rollout:
        """The session's roll-out, started at the first call; all callers get the same one."""
        with self._rollout_lock:
            if self._rollout is None:
                self._rollout = self._pool.submit(self._drive_rollout)
        return self._rollout.result()

    def _drive_rollout(self) -> Rollout:
        models = self._models.result()
        with self._phase("canary roll-out"):
            return drive(
                cluster=self._cluster,
                traffic=self._traffic,
                models=models,
            )

    def _paths(self) -> Sequence[NetworkPath]:
        """The network paths from the session's pods to the platform, and those between the platform's pods."""
        access = self.access
        trainer, initializer = self._pods["trainer"].result(), self._pods["initializer"].result()
        destinations = {
            "MLflow": _host_and_port(access.tracking_uri),
            "the store": _host_and_port(access.store.endpoint),
            "the database": _host_and_port(f"//{access.database}") if access.database else None,
        }

        def path(pod: JobPod, source: str, destination: str, allowed: bool) -> Iterator[NetworkPath]:
            if address := destinations[destination]:
                yield NetworkPath(
                    name=f"{source} to {destination}",
                    namespace=pod.namespace,
                    selector={POD_LABEL: pod.name},
                    host=address[0],
                    port=address[1],
                    allowed=allowed,
                )

        return (
            *path(trainer, "pipelines", "MLflow", True),
            *path(trainer, "pipelines", "the store", True),
            *path(initializer, "services", "the store", True),
            *(path(trainer, "pipelines", "the database", False) if access.owned else ()),
            *(path(initializer, "services", "the database", False) if access.owned else ()),
            *(path(initializer, "services", "MLflow", False) if access.owned else ()),
            *access.platform_paths,
        )

    def remove(self) -> str:
        """Delete everything that the session created on the cluster. Returns the errors, or an empty string.

        No thread of the session may run any more.
        """
        errors = [remove_namespaces(self.access, self.namespaces)]
        if self._step_secret.started and self.access.pipelines:
            try:
                self.access.kubectl.run(*_secret_deletion(self.access.pipelines, self._step_secret_name))
            except PlatformError as error:
                errors.append(error.message)
        if backend := self._used_backend:
            errors += [f"run {run_id} of KFP was not deleted" for run_id in backend.remaining]
        return "; ".join(filter(None, errors))


def _secret_deletion(access: PipelinesAccess, name: str) -> Sequence[str]:
    return ("delete", "secret", name, "-n", access.namespace, "--ignore-not-found", "--wait=false")


def _host_and_port(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)
