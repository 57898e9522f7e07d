"""Deadlines that the sessions of all targets share, in seconds. Running into one is an error with the log's tail."""

from __future__ import annotations

PIPELINE = 300.0
DOWNLOAD = 120.0
INFER = 30.0
