"""Detectron2 integration: strict backbone conversion, verification, and the configs of Table 11."""
