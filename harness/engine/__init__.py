"""The engine: from contracts and a target to a report. Knows no contract by name."""
