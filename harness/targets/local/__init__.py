"""The local target: a stack as processes on this machine, without Docker and without a cluster."""
