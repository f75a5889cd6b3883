"""Methods that KeepAugment is compared with and that no library implements correctly, one per file."""
