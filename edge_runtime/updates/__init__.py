"""Updates: following a channel, verifying what it announces, and installing it."""
