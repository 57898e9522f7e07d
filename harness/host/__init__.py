"""What runs on this machine: processes, workers, containers, kubectl, and the journal that clean-up after a killed run needs."""
