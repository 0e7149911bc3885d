"""`python -m edge_runtime`: the same as `loragen-edge run`."""

import sys

from edge_runtime.cli import main

if __name__ == "__main__":
    main("run", *sys.argv[1:])
