"""Backbones in Detectron2's names and back."""
