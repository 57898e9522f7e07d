"""Timeouts that the sessions of all targets share, in seconds. An error at a timeout has the tail of the log."""

from __future__ import annotations

PIPELINE = 300.0
DOWNLOAD = 120.0
INFER = 30.0
