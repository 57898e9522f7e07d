"""Reports, roll-outs and scenario results that tests render or judge."""
