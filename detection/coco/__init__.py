"""Data sets and predictions in COCO's format."""
