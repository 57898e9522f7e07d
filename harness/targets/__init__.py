"""Targets: where a stack runs. Each declares the clients that its sessions offer."""
