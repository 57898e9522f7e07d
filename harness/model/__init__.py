"""The words of trivet as frozen dataclasses. Imports nothing third-party, so that any environment can load it."""
