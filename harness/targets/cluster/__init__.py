"""A stack on a Kubernetes cluster: the session and the clients of the targets ``kind`` and ``existing``."""
