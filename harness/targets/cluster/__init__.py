"""A stack on a Kubernetes cluster: the session and clients that the targets ``kind`` and ``existing`` share."""
