"""Makes tokenizers, base models and generators from public data, and measures them. Only this package trains."""
