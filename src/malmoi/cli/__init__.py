"""The command line: one thin file a group of verbs."""
