"""How long a cluster session waits for what, in seconds; running into a deadline is an error that shows what there was."""

from __future__ import annotations

PODS = 300.0
"""For the session's own pods: their images may have to be pulled first."""
TRACKING = 60.0
READY = 300.0
"""For an InferenceService to say Ready: its pod may have to pull an image, and starts in 20 to 40 s on two busy cores."""
ROUTED = 45.0
"""From Ready to the first answer of the model through the ingress."""
RESTARTS = {"storage-initializer": 3, "kserve-container": 2}
"""Restarts of a predictor's container after which it is taken to be unable to start. The initializer is granted one more, for a store
or a policy that came a moment later."""
WATCH = 1.0
"""Between two looks at a service that is to become ready."""
DELETED = 120.0
POLICY = 30.0
"""For a NetworkPolicy to take effect, or to stop to."""
PROXY = 15.0
LOG_LINES = 400
"""Of each container's log in the evidence."""
STAGE = 60.0
