"""The resources of a step's container, as KFP's driver reads them and Kubernetes admits them."""

from __future__ import annotations

from typing import Any

import pytest

from trivet.contracts.ir.resources import effective, resource_violations

GPU = "nvidia.com/gpu"


@pytest.mark.parametrize(
    ("resources", "name", "expected"),
    [
        ({}, "CpuLimit", ("", "")),
        ({"resourceCpuLimit": "2", "cpuLimit": 3.0}, "CpuLimit", ("resourceCpuLimit", "2")),
        ({"resourceCpuLimit": "", "cpuLimit": 3.0}, "CpuLimit", ("cpuLimit", "3")),
        ({"resourceMemoryLimit": None, "memoryLimit": 0.5}, "MemoryLimit", ("memoryLimit", "0.5G")),
        ({"memoryRequest": 2}, "MemoryRequest", ("memoryRequest", "2G")),
        ({"cpuLimit": 0.0}, "CpuLimit", ("", "")),
        ({"cpuLimit": "many"}, "CpuLimit", ("cpuLimit", "many")),
        ({"cpuLimit": [1]}, "CpuLimit", ("cpuLimit", "[1]")),
    ],
)
def test_the_quantity_that_the_driver_uses(resources: Any, name: str, expected: tuple[str, str]) -> None:
    assert effective(resources, name) == expected


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"resourceCpuLimit": "1", "resourceCpuRequest": "1"},
        {"resourceCpuRequest": "2"},
        {"resourceCpuLimit": "0"},
        {"resourceMemoryLimit": "0"},
        {"resourceMemoryLimit": "1Mi"},
        {"resourceCpuLimit": "1m"},
        {"resourceCpuLimit": "{{$.inputs.parameters['cpu']}}"},
        {"resourceCpuLimit": "{{$.inputs.parameters['cpu']}}", "resourceCpuRequest": "2"},
        {"accelerator": {}},
        {"accelerator": "a"},
        {"accelerator": {"type": GPU, "count": 1}},
        {"accelerator": {"resourceType": GPU, "resourceCount": "2"}},
        {"accelerator": {"resourceType": "a.b-c/d_e.f", "resourceCount": "0"}},
        {"accelerator": {"resourceType": "{{$.inputs.a}}", "resourceCount": "{{$.inputs.b}}"}},
        {"accelerator": {"resourceType": GPU, "type": "no resource", "resourceCount": "1", "count": "x"}},
    ],
)
def test_resources_that_fit(resources: Any) -> None:
    assert list(resource_violations(resources)) == []


@pytest.mark.parametrize(
    ("resources", "field", "text"),
    [
        ({"resourceCpuLimit": "4GB"}, "resourceCpuLimit", "is '4GB', which is not a Kubernetes quantity"),
        ({"cpuRequest": "many"}, "cpuRequest", "is 'many', which is not a Kubernetes quantity"),
        ({"resourceMemoryRequest": "-1Gi"}, "resourceMemoryRequest", "is negative (-1Gi)"),
        ({"resourceMemoryLimit": "1048575"}, "resourceMemoryLimit", "is 1048575: 1048575 bytes, with which"),
        ({"resourceMemoryLimit": "1"}, "resourceMemoryLimit", "is 1: 1 bytes, with which nothing starts"),
        ({"memoryLimit": 0.001}, "memoryLimit", "is 0.001G: 1000000 bytes, with which nothing starts"),
        (
            {"resourceCpuLimit": "1", "resourceCpuRequest": "1.5"},
            "resourceCpuRequest",
            "is 1.5, more than the limit of 1",
        ),
        (
            {"memoryLimit": 1, "resourceMemoryRequest": "2G"},
            "resourceMemoryRequest",
            "is 2G, more than the limit of 1G",
        ),
        ({"accelerator": {"count": 1}}, "accelerator", "requests accelerators without a type"),
        ({"accelerator": {"type": GPU}}, "accelerator", "names an accelerator type and requests none"),
        ({"accelerator": {"type": "gpu", "count": 1}}, "accelerator", "has the type 'gpu', expected the name"),
        ({"accelerator": {"type": GPU, "count": "1.5"}}, "accelerator", "has the count '1.5', expected a whole number"),
        ({"accelerator": {"type": GPU, "count": -1}}, "accelerator", "has the count '-1', expected a whole number"),
        ({"accelerator": {"type": GPU, "count": "a"}}, "accelerator", "has the count 'a', expected a whole number"),
    ],
)
def test_resources_that_do_not_fit(resources: Any, field: str, text: str) -> None:
    (violation,) = resource_violations(resources)
    assert violation.keys == (field,)
    assert violation.message.startswith(f"its {field} {text}")
