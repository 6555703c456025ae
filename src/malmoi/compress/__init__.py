"""The same model in fewer numbers."""
