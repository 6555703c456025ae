"""The stages, one module each; `malmoi.pipeline.kinds` lists them."""
