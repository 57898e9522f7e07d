"""The one import for authors of contracts, scenarios, faults and targets."""
