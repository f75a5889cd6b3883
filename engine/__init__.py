"""Runs a job: command line, loop, checkpoints, run folder. Knows neither images nor tasks."""
