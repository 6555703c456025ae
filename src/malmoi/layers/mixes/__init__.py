"""Ways to compute attention, one a module: see `malmoi.layers.mixes.registry`."""
