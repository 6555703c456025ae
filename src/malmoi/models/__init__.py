"""Model families: each is one module built from one typed configuration."""
