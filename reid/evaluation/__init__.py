"""Features in, the numbers of the re-identification protocols out."""
