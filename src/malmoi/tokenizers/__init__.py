"""Text to token ids and back, for every kind of vocabulary, and the chat template that lives with it."""
