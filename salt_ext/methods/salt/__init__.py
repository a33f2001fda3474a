"""SALT, and what came of it on real models."""
