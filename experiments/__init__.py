"""Grids of recipes: what to run, what is missing, and the resulting table."""
