"""Before a pretraining: its settings, and what they leave open, derived from this machine and the text."""
