"""Provisions what a stack runs on: container images, from packages or registries, and kind clusters with the platform installed."""
