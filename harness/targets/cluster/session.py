"""One stack on a cluster: the session's pods, and the clients that reach into them.

The pipeline runs in a pod of the pipeline namespace, its steps as real KFP components under the SDK's local runner. What its deploying step
hands over is applied as it is; KServe's controller, webhook, storage initializer, runtime and ingress do the rest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests

from trivet.errors import NotOffered, PlatformError
from trivet.host.journal import Run
from trivet.host.processes import Processes
from trivet.host.worker import Worker
from trivet.integration import TrackingApi, build_inference_service
from trivet.model import feature
from trivet.model.events import Emit
from trivet.model.network import NetworkPath
from trivet.model.rollout import Rollout
from trivet.model.stack import Stack
from trivet.provision.access import ClusterAccess
from trivet.targets.cluster import features, limits
from trivet.targets.cluster.client import Cluster
from trivet.targets.cluster.evidence import EvidenceCollector
from trivet.targets.cluster.fault_injector import ClusterFaults
from trivet.targets.cluster.metrics import Prometheus
from trivet.targets.cluster.namespaces import Namespaces, make_namespaces, remove_namespaces
from trivet.targets.cluster.pods import HOME, JobPod, PodWorker, pod_document
from trivet.targets.cluster.proxy import ApiProxy, forwarded
from trivet.targets.cluster.reader import ApiReader
from trivet.targets.cluster.serving import KNATIVE_MODES, STANDARD_MODES, Services
from trivet.targets.cluster.store import ClusterStore
from trivet.targets.cluster.traffic import Traffic
from trivet.targets.common.clients import HttpServing, WorkerRuntime
from trivet.targets.common.session import SERVICE, HandoverSession, Tracking, result_or_none
from trivet.toolkit.rollout import drive

ROLES = ("trainer", "initializer", "runtime")
POD_LABEL = "trivet.dev/pod"
CODE, DATA = "python", "data/recommendation.csv"


class ClusterSession(HandoverSession):
    """A stack on the cluster behind ``access``. Made by ClusterTarget, which also ends it."""

    CLIENTS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **HandoverSession.CLIENTS,
        "cluster": lambda session: session._cluster,
        "metrics": lambda session: session._metrics(),
        "traffic": lambda session: session._traffic,
        "rollout": lambda session: session._driven_rollout(),
        "faults": lambda session: ClusterFaults(session.access, session.namespaces, session._run),
    }

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
        self._installed = features.of_components(kubectl, self.access.prometheus_url)
        self._proxy = ApiProxy(self._processes, kubectl)
        reader = ApiReader(self._proxy)
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
        self._policies = self._pool.submit(self._measure_policies)
        self._rollout: Future[Rollout] | None = None
        self._rollout_lock = Lock()
        Thread(
            target=self._evidence.watch, args=(self._processes.closed,), name="trivet-conditions", daemon=True
        ).start()

    # -- what a session offers

    def features(self) -> Mapping[str, str]:
        """What is installed, whether NetworkPolicies were seen to be enforced, and what the pipeline's runner did."""
        enforced = result_or_none(self._policies)
        measured = {feature.NETWORK_POLICY_ENFORCED: enforced} if enforced else {}
        return {**self._installed, **measured, **super().features()}

    def describe(self) -> Mapping[str, str]:
        """The hand-off in words, and the cluster that it happened on."""
        return {
            **super().describe(),
            "context": self.access.kubectl.context,
            "namespaces": f"{self.namespaces.pipelines}, {self.namespaces.serving}",
            **self.access.notes,
        }

    def documents(self, everything: bool = False) -> Mapping[str, Path]:
        """What the hand-off made; with ``everything`` also events, logs, manifests and conditions, collected now."""
        if everything:
            self._evidence.collect()
        return {**super().documents(everything), **(self._evidence.documents() if everything else {})}

    def service_document(self, name: str, storage_uri: str) -> dict[str, Any]:
        """The core library's InferenceService for a model that was not handed over by the pipeline; a fresh name when empty."""
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

    def forget(self) -> None:
        """Remove what the session left in MLflow and in the store of a cluster that is not trivet's own, as far as that works."""
        if self.access.owned:
            return
        with suppress(Exception):
            self._trainer.result(timeout=0).call("forget", experiments=self.experiment)
        with suppress(Exception):
            store = self._store.result(timeout=0)
            assert isinstance(store, ClusterStore)
            store.remove()

    # -- pods and workers

    def _namespace_of(self, role: str) -> str:
        return self.namespaces.pipelines if role == "trainer" else self.namespaces.serving

    def _start_pod(self, role: str) -> JobPod:
        access = self.access
        if role not in access.images:
            raise NotOffered(f"no image is named for the role {role}, so it has no pod on this cluster")
        name = f"trivet-{role}-{self.namespaces.id}"
        document = pod_document(
            name,
            namespace=self._namespace_of(role),
            image=access.images[role],
            labels={**self.namespaces.label, POD_LABEL: name},
            environment={**self._stack.roles[role].environment, **self._store_environment()},
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
        """The Secret with the store's credentials for a job pod; the runtime needs none."""
        if role == "runtime":
            return ""
        if self.access.owned:
            return "trivet-store"
        return self.access.store.secret

    def _store_environment(self) -> dict[str, str]:
        """How boto3, MLflow and KServe's code find the store: the variables that KServe's controller sets, and MLflow's own."""
        store = self.access.store
        found = {"AWS_DEFAULT_REGION": store.region}
        if store.endpoint:
            found |= {
                "AWS_ENDPOINT_URL": store.endpoint,
                "MLFLOW_S3_ENDPOINT_URL": store.endpoint,
                "S3_ENDPOINT": store.endpoint.partition("://")[2],
                "S3_USE_HTTPS": "1" if store.endpoint.startswith("https:") else "0",
                "S3_VERIFY_SSL": "1",
                "awsAnonymousCredential": "false",
            }
        return found

    def _worker(self, role: str, name: str, job: str, *, background: bool = False) -> Worker:
        return PodWorker(self._processes, name, self._pods[role].result(), job)

    def _runtime_client(self) -> WorkerRuntime:
        self._pods["runtime"].result()
        return self._runtime

    def _job_path(self, role: str, path: Path) -> str:
        if path == self._data:
            return f"{HOME}/{DATA}"
        return self._pods[role].result().given(path)

    def _outputs(self, driver: Worker) -> str:
        return f"{HOME}/outputs/{next(self._folders):04d}"

    # -- the platform's parts

    def _deployment(self) -> Mapping[str, Any]:
        knative = feature.KNATIVE in self._installed
        known = self._stack.settings["serving"]["deployment_modes"]
        names = KNATIVE_MODES if knative else STANDARD_MODES
        return {
            "namespace": self.namespaces.serving,
            "deployment_mode": next((mode for mode in names if mode in known), names[-1]),
            "min_replicas": 1,
            # Without Knative's HPA extension nobody would look at an autoscaler of its class, and the revision would never be ready.
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
            f"the tracking server to answer at {url}/health",
            look,
            timeout=limits.TRACKING,
            stop=self._processes.closed,
        )
        return Tracking(uri=uri, url=url)

    def _forward_tracking(self) -> str:
        """A port of this machine that leads to the tracking server's Service."""
        host, port = urlsplit(self.access.tracking_uri).hostname or "", urlsplit(self.access.tracking_uri).port or 80
        found = re.fullmatch(r"([\w-]+)\.([\w-]+)(\.svc(\..+)?)?", host)
        if not found:
            raise PlatformError(
                f"this machine does not know how to reach {self.access.tracking_uri}, which names no Service",
                remedy="say by which URL this machine reaches it: tracking_url in [tool.trivet.existing]",
            )
        command = self.access.kubectl.argv("port-forward", "-n", found[2], f"service/{found[1]}", f":{port}")
        _, url = forwarded(self._processes, "tracking port", command, r"Forwarding from (127\.0\.0\.1:\d+)")
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
            raise NotOffered("no Prometheus is known on this cluster")
        return Prometheus(self.access.prometheus_url)

    def _measure_policies(self) -> str:
        source, listener = self._pods["initializer"].result(), self._pods["runtime"].result()
        with self._phase("network policies"):
            return features.network_policy(self.access.kubectl, self.namespaces, source, listener)

    def _driven_rollout(self) -> Rollout:
        """The one roll-out of the session, driven when it is first asked for; whoever asks meanwhile waits for the same one."""
        with self._rollout_lock:
            if self._rollout is None:
                self._rollout = self._pool.submit(self._drive_rollout)
        return self._rollout.result()

    def _drive_rollout(self) -> Rollout:
        tracking = TrackingApi(self._tracking.result().url)
        trainer = self._trainer.result()
        with self._phase("canary roll-out"):
            return drive(
                cluster=self._cluster,
                traffic=self._traffic,
                trainer=trainer,
                tracking=tracking,
                artifact_root=self.artifact_root,
            )

    def _paths(self) -> Sequence[NetworkPath]:
        """From the session's pods to the platform, and the platform's own."""
        access = self.access
        trainer, initializer = self._pods["trainer"].result(), self._pods["initializer"].result()
        ends = {
            "MLflow": _end(access.tracking_uri),
            "the store": _end(access.store.endpoint),
            "the database": _end(f"//{access.database}") if access.database else None,
        }

        def path(pod: JobPod, what: str, end: str, allowed: bool) -> Iterator[NetworkPath]:
            if found := ends[end]:
                yield NetworkPath(
                    name=f"{what} to {end}",
                    namespace=pod.namespace,
                    selector={POD_LABEL: pod.name},
                    host=found[0],
                    port=found[1],
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
        """Remove what the session made on the cluster. Returns why not all of it went, or an empty string."""
        return remove_namespaces(self.access, self.namespaces)


def _end(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or {"https": 443}.get(parts.scheme, 80)
