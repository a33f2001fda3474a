"""Files beside the models: paths, single outputs, text and JSON."""
