"""Detectron2 integration: strict conversion of backbones, verification, and the configs of Table 11."""
