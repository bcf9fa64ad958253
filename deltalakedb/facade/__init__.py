"""The migration guide's names, each a thin face of the core."""
