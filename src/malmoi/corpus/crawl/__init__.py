"""Fetching the pages of one's own web sites, politely and without being led astray."""
