"""A kind cluster of our own: creating and deleting it, and installing the platform that a stack's KServe needs. Runs no contract."""
