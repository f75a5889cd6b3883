"""Grids of recipes: what to run, what is missing, and the table that comes out."""
