"""From documents to batches: the token store, the order, mixtures, collation."""
