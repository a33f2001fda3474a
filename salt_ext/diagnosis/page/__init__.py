"""The facts of a diagnosis as one HTML file: templates, style and script lie beside this file."""
