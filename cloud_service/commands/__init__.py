"""The command line `loragen`."""
