"""Writers: one module per format, fed by events or by a finished report."""
