"""Container images of a stack: recipes that build them out of package registries, where they are kept, how they are carried.

``recipes`` reads what there is to build, ``layers`` makes one layer each, ``build`` makes what is missing, ``store`` is the
registry on this machine that keeps them, ``pulled`` is the other source: upstream's own images.
"""
