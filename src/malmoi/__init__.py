"""malmoi grows language models on people's own machines."""

__version__ = "0.1.0"
