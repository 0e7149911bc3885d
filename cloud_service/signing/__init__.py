"""Channels that their owner signs, as TUF repositories: keys, metadata, and what the owner does to both."""
