"""Run plumbing shared by the task packages: command line, run folder, loop, checkpoints. No algorithm."""
