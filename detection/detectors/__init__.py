"""Detectors built from a config, and the backbones inside them."""
