"""What contracts, scenarios and targets share: waiting, readiness, probes, deployed services, models, comparison, statistics, faults."""
