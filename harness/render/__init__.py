"""Writers: one module per format, fed by events or by a finished report. A writer decides nothing; it words what the report says."""
