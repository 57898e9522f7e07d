"""The local target: a stack as processes on this machine, without Docker and without a cluster."""

from trivet.targets.local.journal import Leftover, clean, leftovers
from trivet.targets.local.target import LocalTarget

__all__ = ["Leftover", "LocalTarget", "clean", "leftovers"]
