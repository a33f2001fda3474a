"""What a person sees: terminal, notebook, names in a sentence."""
