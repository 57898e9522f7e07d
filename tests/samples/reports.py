"""Synthetic reports for the tests of the writers: what a real run yields in length and shape, and what would break a careless writer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from trivet.model.finding import Evidence, Finding, Location, evidence
from trivet.model.outcome import Level, Outcome, combine
from trivet.model.report import BaselineUse, ConformanceReport, ContractResult, Phase, Provenance, StackSummary
from trivet.model.waiver import FindingWaiver, Waiver, WaiverStatus, WaiverUse

PIPELINE, WRITER, SERVER, RUNTIME, LINEAGE = (
    ("kfp", "mlflow"),
    ("mlflow", "kserve"),
    ("kserve", "runtime"),
    ("mlflow", "runtime"),
    ("kfp", "kserve"),
)

HOSTILE = "<script>alert('x')</script> \x1b[31mred\x1b[0m \x00\x07 \u202eoverridden\u202c \udc80 😀 データ ]]> & %0A"

_STATEMENTS = (
    (PIPELINE, "pipelines.unrecorded_run_is_red", "A pipeline that could not record its run must not succeed"),
    (
        PIPELINE,
        "pipelines.tracking_uri_is_injected",
        "The tracking URI must reach a step from outside, not from its code",
    ),
    (PIPELINE, "pipelines.run_id_travels", "The run id and the model's URI must travel as outputs and metadata"),
    (PIPELINE, "pipelines.steps_have_limits", "Every step must limit its CPU and memory"),
    (
        PIPELINE,
        "pipelines.gate_blocks_a_worse_model",
        "The quality gate must block a model worse than the one in production",
    ),
    (WRITER, "paths.uri_holds_mlmodel", "The storage URI must name the directory that holds MLmodel"),
    (WRITER, "paths.names_lead_to_the_same_bytes", "Every documented name of a model must lead to the same bytes"),
    (WRITER, "paths.scheme_is_supported", "The storage initializer must support the URI's scheme"),
    (WRITER, "paths.download_is_identical", "What the initializer leaves must be byte-identical to the store"),
    (WRITER, "paths.odd_names_survive", "Spaces, unicode and percent signs in a path must survive the handover"),
    (
        WRITER,
        "signatures.present_on_every_version",
        "Every registered version must have a signature with inputs and outputs",
    ),
    (
        RUNTIME,
        "environment.packages_fit_the_runtime",
        "The packages that a model was saved with must fit the runtime's",
    ),
    (RUNTIME, "environment.python_fits_the_runtime", "The Python that a model was saved with must fit the runtime's"),
    (RUNTIME, "environment.runtime_loads_the_model", "The runtime must load the model that the trainer saved"),
    (
        RUNTIME,
        "signatures.runtime_reads_the_signature",
        "The runtime's MLflow must read the signature that was written",
    ),
    (SERVER, "serving.predictions_equal_the_trainers", "Served predictions must equal the trainer's own"),
    (SERVER, "serving.missing_column_is_a_4xx", "A missing column should be answered with a clear 4xx"),
    (SERVER, "serving.mistyped_column_is_a_4xx", "A mistyped column should be answered with a clear 4xx"),
    (SERVER, "serving.model_readiness_is_honest", "The model's own readiness must follow from having loaded"),
    (SERVER, "manifests.fields_are_known", "An InferenceService must not use fields that its API does not have"),
    (SERVER, "manifests.autoscaler_fits_the_mode", "The autoscaler class must be one that the deployment mode honours"),
    (SERVER, "manifests.canary_has_a_predecessor", "A first deployment must not ask for a canary percentage"),
    (LINEAGE, "lineage.labels_are_valid", "Label values must be valid for Kubernetes"),
    (
        LINEAGE,
        "lineage.answer_leads_back_to_the_run",
        "A served answer must lead back to the run that trained the model",
    ),
)


def conformant() -> ConformanceReport:
    """Everything passed but one advice and one that does not apply."""
    return _report(
        "2024.11-fixed",
        "KFP SDK 2.9, MLflow 2.17, KServe 0.14, the trainer held to the runtime's lock",
        {"serving.missing_column_is_a_4xx": _missing_column(), "lineage.labels_are_valid": _skipped()},
    )


def not_conformant() -> ConformanceReport:
    """Two MUST failed, with one advice, one skipped, one that could not be judged and one broken check."""
    return _report(
        "2024.11",
        "KFP SDK 2.9, MLflow 2.17, KServe 0.14 as published",
        {
            "environment.packages_fit_the_runtime": _packages(),
            "environment.runtime_loads_the_model": _does_not_load(),
            "serving.missing_column_is_a_4xx": _missing_column(),
            "serving.predictions_equal_the_trainers": [
                Finding(
                    outcome=Outcome.INCONCLUSIVE,
                    message="the model never became ready, so nothing was predicted (waited 60 s)",
                )
            ],
            "pipelines.gate_blocks_a_worse_model": _skipped(),
            "manifests.fields_are_known": [
                Finding(
                    outcome=Outcome.ERROR,
                    message="the check raised KeyError: 'spec'",
                    evidence=(
                        evidence(
                            "traceback", "text", "Traceback (most recent call last):\n  File …\nKeyError: 'spec'\n"
                        ),
                    ),
                )
            ],
        },
    )


def inconclusive() -> ConformanceReport:
    """No MUST failed, but one could not be judged."""
    return _report(
        "current",
        "The newest that resolves",
        {
            "serving.predictions_equal_the_trainers": [
                Finding(outcome=Outcome.INCONCLUSIVE, message="the server answered 503 until the deadline of 60 s")
            ]
        },
    )


def accepted() -> ConformanceReport:
    """A MUST failed and is waived, an advice is in the baseline, a third contract fails since its waiver expired; one waiver is unused."""
    waiver = FindingWaiver(
        name="numpy-pin",
        reason="retraining is planned",
        owner="ml@example.com",
        expires=date(2025, 3, 1),
        expired=False,
    )
    expired = replace(waiver, name="old-runtime", expires=date(2024, 11, 1), expired=True)
    base = _report(
        "2024.11",
        "KFP SDK 2.9, MLflow 2.17, KServe 0.14 as published",
        {
            "environment.packages_fit_the_runtime": [replace(finding, waiver=waiver) for finding in _packages()],
            "environment.runtime_loads_the_model": [
                replace(finding, waiver=expired, in_baseline=True) for finding in _does_not_load()
            ],
            "serving.missing_column_is_a_4xx": [replace(finding, in_baseline=True) for finding in _missing_column()],
        },
    )
    uses = (
        ("numpy-pin", "environment.packages_fit_the_runtime", waiver.expires, WaiverStatus.USED, 3),
        ("old-runtime", "environment.runtime_*", expired.expires, WaiverStatus.EXPIRED, 1),
        ("labels", "lineage.labels_are_valid", waiver.expires, WaiverStatus.UNUSED, 0),
        ("on-kind", "pipelines.*", waiver.expires, WaiverStatus.UNDECIDED, 0),
    )
    return replace(
        base,
        waivers=tuple(
            WaiverUse(
                name=name,
                waiver=Waiver(
                    contract=contract, reason="retraining is planned", owner="ml@example.com", expires=expires
                ),
                status=status,
                findings=findings,
            )
            for name, contract, expires, status, findings in uses
        ),
        baseline=BaselineUse(file="before/report.json", accepted=1, gone=2),
    )


def empty() -> ConformanceReport:
    """No contract at all, which is not a pass."""
    return _report("current", "The newest that resolves", {}, statements=())


def hostile() -> ConformanceReport:
    """Every text holds markup, terminal sequences, forbidden characters or no place to break."""
    finding = Finding(
        outcome=Outcome.FAILED,
        message=f"{HOSTILE}\n{'endless' * 200}\n" + "many words " * 300,
        location=Location(file="models/a b,c:d%/ünïcode.yaml", line=7, object="InferenceService/<b>bold</b>"),
        evidence=(Evidence(name=HOSTILE, kind="log", text=HOSTILE + "\n" + "x" * 5000, sha256="0" * 64),),
        remedy=HOSTILE,
    )
    result = ContractResult(
        id="third_party.a_contract_with_a_very_long_name_that_no_column_was_made_for_and_that_goes_on",
        title=HOSTILE,
        level=Level.MUST,
        seam=("mlflow", "<i>store</i>"),
        outcome=Outcome.FAILED,
        reason=finding.message,
        rationale=HOSTILE,
        remedy=HOSTILE,
        findings=(finding, finding),
        seconds=0.1,
    )
    base = _report("b\x1b[2Jad <stack>", HOSTILE, {HOSTILE: []}, statements=())
    return ConformanceReport(
        target=base.target,
        profile=base.profile,
        stack=base.stack,
        contracts=(result,),
        provenance=base.provenance,
        features={HOSTILE: HOSTILE},
        handover={"storage uri": "file:///" + "x" * 300},
        phases=(Phase(name=HOSTILE, started=0.0, seconds=0.0),),
    )


SAMPLES = {
    "conformant": conformant,
    "not_conformant": not_conformant,
    "inconclusive": inconclusive,
    "accepted": accepted,
    "empty": empty,
    "hostile": hostile,
}


def _report(
    name: str,
    title: str,
    deviations: dict[str, list[Finding]],
    statements: tuple[tuple[tuple[str, str], str, str], ...] = _STATEMENTS,
) -> ConformanceReport:
    return ConformanceReport(
        target="local",
        profile="core",
        stack=StackSummary(
            name=name,
            title=title,
            digest="sha256:8d0c1f2e3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5",
            components={"kfp": "2.9.0", "mlflow": "2.17.2", "kserve": "0.14.1", "runtime": "1.5.0"},
        ),
        contracts=tuple(
            _result(number, seam, identity, statement, deviations.get(identity))
            for number, (seam, identity, statement) in enumerate(statements)
        ),
        provenance=Provenance(
            trivet="0.1.0",
            python="3.11.9",
            platform="linux-x86_64",
            started="2024-11-23T10:15:00+00:00",
            seconds=27.412,
            command=f"trivet run --stack {name.split()[0]} --report out",
        ),
        features={
            "LocalProcesses": "servers were started as processes and answered on their ports",
            "ConditionalPipelines": "absent: kfp 2.9.0 cannot run dsl.If locally; both branches ran as pipelines of their own",
        },
        handover={
            "run": "5f1b3a0c9d8e4f7a8b6c5d4e3f2a1b0c",
            "registered model": "recommendation-classifier version 1, alias champion",
            "storage uri": "file:///tmp/run/store/1/5f1b3a0c9d8e4f7a8b6c5d4e3f2a1b0c/artifacts/model/",
        },
        documents={"inferenceservice.yaml": "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n"},
        phases=(
            Phase(name="tracking server", started=0.2, seconds=5.1),
            Phase(name="compile the pipeline", started=0.3, seconds=2.4),
            Phase(name="train", started=5.3, seconds=9.8),
            Phase(name="storage initializer", started=15.1, seconds=1.2),
            Phase(name="runtime", started=16.3, seconds=6.9),
            Phase(name="checks", started=5.4, seconds=21.1),
        )
        if statements
        else (),
    )


def _result(
    number: int, seam: tuple[str, str], identity: str, statement: str, deviations: list[Finding] | None
) -> ContractResult:
    level = Level.SHOULD if " should " in statement else Level.MUST
    confirmed = Finding(outcome=Outcome.PASSED, message=f"observed as stated, {number + 3} cases", contract=identity)
    findings = tuple(deviations or (confirmed,))
    outcome = combine(finding.outcome for finding in findings)
    of_outcome = [finding for finding in findings if finding.outcome is outcome]
    more = f" (and {len(of_outcome) - 1} more)" if len(of_outcome) > 1 else ""
    return ContractResult(
        id=identity,
        title=statement,
        level=level,
        seam=seam,
        outcome=outcome,
        reason=of_outcome[0].message + more,
        rationale="The side that reads has no second source: what the writer leaves out or writes in another form surfaces only "
        "under traffic, as a pod that restarts or as an answer that is wrong.",
        remedy=of_outcome[0].remedy
        or "Hold the writer to what the reader has; see the findings for the exact versions.",
        findings=findings,
        seconds=round(0.013 * (number + 1), 3),
    )


def _packages() -> list[Finding]:
    frozen: Evidence = evidence(
        "packages of model and runtime",
        "table",
        "package        model    runtime\nmlflow         2.17.2   2.10.2\nnumpy          2.1.3    1.26.4\n"
        "scikit-learn   1.5.2    1.4.1.post1\npandas         2.2.3    2.2.2\n",
    )
    return [
        Finding(
            outcome=Outcome.FAILED,
            message=f"{package}: the model was saved with {saved}, the runtime has {present}",
            location=Location(
                file="store/1/5f1b3a0c/artifacts/model/requirements.txt",
                line=line,
                object="InferenceService/recommendation-classifier",
            ),
            evidence=(frozen,),
            remedy=f"Hold the trainer to {package}=={present}, or serve with a runtime image that has {saved}.",
        )
        for line, package, saved, present in (
            (3, "numpy", "2.1.3", "1.26.4"),
            (5, "scikit-learn", "1.5.2", "1.4.1.post1"),
            (2, "mlflow", "2.17.2", "2.10.2"),
        )
    ]


def _does_not_load() -> list[Finding]:
    log = (
        "2024-11-23 10:15:18,201 [mlserver] INFO - Using asyncio event-loop policy: uvloop\n"
        "2024-11-23 10:15:20,944 [mlserver][recommendation-classifier] ERROR - Couldn't load model\n"
        "Traceback (most recent call last):\n"
        '  File "mlserver/registry.py", line 280, in _load_model\n'
        "    model.ready = await model.load()\n"
        "ModuleNotFoundError: No module named 'numpy._core'\n"
    )
    return [
        Finding(
            outcome=Outcome.FAILED,
            message="the runtime could not load the model: ModuleNotFoundError: No module named 'numpy._core'",
            location=Location(object="InferenceService/recommendation-classifier"),
            evidence=(evidence("runtime log", "log", log),),
        )
    ]


def _missing_column() -> list[Finding]:
    exchange = {
        "request": {"inputs": [{"name": "user_age", "datatype": "FP64", "shape": [1, 1], "data": [31.0]}]},
        "status": 500,
        "body": {
            "error": "MlflowException('Failed to enforce schema of data. Error: Model is missing inputs [\\'item_price\\'].')"
        },
    }
    return [
        Finding(
            outcome=Outcome.FAILED,
            message="a request without the column item_price was answered with HTTP 500, not with a 4xx that names the column",
            location=Location(object="InferenceService/recommendation-classifier"),
            evidence=(evidence("POST /v2/models/recommendation-classifier/infer", "http", exchange),),
            remedy="Validate requests before the runtime, and leave 5xx caused by malformed requests out of canary judgement.",
        )
    ]


def _skipped() -> list[Finding]:
    return [Finding(outcome=Outcome.SKIPPED, message="applies to kfp>=2.16; the stack has 2.9.0")]
