"""The methods KeepAugment is compared with, where no library has them right. Each is one file."""
