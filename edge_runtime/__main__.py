"""`python -m edge_runtime`: the same as `loragen-edge run`."""

import sys

from loragen.signals import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

    if len(sys.argv) > 1:
        from edge_runtime.cli import main

        main("run", *sys.argv[1:])
    else:
        # Without the library that reads options: 2 MB that a device would keep.
        from edge_runtime.device_process import run_process
        from loragen.error_lines import naming_extra

        with naming_extra("edge"):
            run_process()
