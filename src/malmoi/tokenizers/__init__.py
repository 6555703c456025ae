"""Text to token ids and back: byte-level BPE, characters, words, and the chat template that lives with them."""
