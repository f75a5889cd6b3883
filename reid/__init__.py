"""Person re-identification: the strong baseline with selective Random Erasing, and exact evaluation."""
