"""Methods of compression, one a module: see `malmoi.compress.registry`."""
