"""Runs a job: command line, loop, checkpoints and run folder. Independent of images and tasks."""
