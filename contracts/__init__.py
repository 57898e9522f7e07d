"""The contracts: one module per seam, one ``@contract`` function per statement."""
