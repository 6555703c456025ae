"""The recipes that come with malmoi."""
