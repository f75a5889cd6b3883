"""Conversion of backbones to Detectron2's names and back."""
