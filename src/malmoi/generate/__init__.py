"""From a prompt to text: sampling, the cache, streaming."""
