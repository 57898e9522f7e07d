"""Timeouts of a session on a cluster in seconds, and other limits. An error at a timeout has the last observed state."""

from __future__ import annotations

PODS = 300.0
"""For the session's pods to be Ready, including image pulls."""
TRACKING = 60.0
READY = 300.0
"""For an InferenceService to be Ready, including image pulls; its pod starts in 20 to 40 s on two busy cores."""
ROUTED = 45.0
"""From Ready until the model is ready through the ingress."""
RESTARTS = {"storage-initializer": 3, "kserve-container": 2}
"""Restarts of a predictor's container after which the service counts as failed. The initializer has one more, because the store or a
policy may be ready a moment later."""
WATCH = 1.0
"""Interval of polling a service that is not ready yet."""
DELETED = 120.0
POLICY = 30.0
"""For a NetworkPolicy, or its deletion, to take effect."""
PROXY = 15.0
LOG_LINES = 400
"""Number of lines of each container's log in the evidence."""
STAGE = 60.0
PIPELINE_API = 30.0
"""For an answer of KFP's API server."""
PIPELINE_RUN = 420.0
"""For a small pipeline on KFP's backend: each step takes two pods, of 10 s each on two busy cores."""
EXAMPLE_PIPELINE_RUN = 900.0
"""For the example pipeline there: five steps, a condition, and a training."""
PIPELINE_WATCH = 3.0
"""Interval of looking at a run."""
