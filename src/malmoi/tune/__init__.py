"""Search for settings of a recipe: what is tried, the trials, and what came out."""
