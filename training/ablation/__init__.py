"""The ablations of the paper, in short runs of equal length."""
