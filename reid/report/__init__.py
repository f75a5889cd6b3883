"""Report an evaluation as pictures and as an HTML page."""
