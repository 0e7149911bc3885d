"""What a task's answers look like: its answer contract, and what it says of each choice of a closed set."""
