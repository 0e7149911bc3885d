"""Fits generators, and the models of a pair where a training config says so; calibrates their confidence."""
