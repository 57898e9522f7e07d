"""The data model of trivet as frozen dataclasses. Imports the standard library only, so that every environment can load it."""
