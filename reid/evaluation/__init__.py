"""Compute the metrics of the re-identification protocols from features."""
