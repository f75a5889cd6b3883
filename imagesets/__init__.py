"""Opens, crops and shows images."""
