"""Judges: pure functions from both sides' windows to a verdict."""
