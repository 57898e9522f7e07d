"""The local target: a stack as processes on this machine, without a cluster; Docker is optional."""

from trivet.targets.local.backing import Backing
from trivet.targets.local.target import LocalTarget

__all__ = ["Backing", "LocalTarget"]
