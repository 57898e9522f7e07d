"""Container images of a stack: built from packages by recipes, kept in a registry on this machine, saved to archives, pruned.

``recipes`` reads the recipes, ``layers`` builds one layer, ``build`` builds what is missing, ``store`` runs the registry, ``archive`` saves
and loads, ``prune`` finds and removes garbage. ``pulled`` is the other source: upstream's images.
"""
