"""Modules for speaker embeddings, wired together in HyperPyYAML files."""
