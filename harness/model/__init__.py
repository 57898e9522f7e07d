"""The words of trivet as frozen dataclasses. Imports nothing else of trivet and nothing third-party, so that any environment can load it."""
