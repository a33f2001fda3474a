"""What is checked of a new model folder before it appears."""
