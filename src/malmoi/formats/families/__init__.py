"""One module a family: its table of names and its words for our configuration."""
