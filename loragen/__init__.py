"""What both services share, and what users import."""
