"""The core integration library: what pipelines and platform teams import. Needs ``requests`` and nothing else; no pytest in here."""
