"""Detectors built from a config, and their backbones."""
