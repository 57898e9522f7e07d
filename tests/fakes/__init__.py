"""Fakes for tests of trivet's own logic: in-memory targets, clusters, clients and a kubectl. Never for showing that a contract holds."""
