"""Continued training of a moved model, by transformers, accelerate and peft: see `salt_ext.adapt_model`."""
