"""`python -m edge_runtime`: the same as `loragen-edge run`."""

from edge_runtime.cli import run

if __name__ == "__main__":
    run()
