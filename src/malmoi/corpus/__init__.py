"""From files to clean documents: read, normalise, filter, deduplicate."""
