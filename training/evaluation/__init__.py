"""Measures a trained pair on suites of tasks, with its controls."""
