"""Serving: engines, slots and the OpenAI-compatible HTTP interface."""
