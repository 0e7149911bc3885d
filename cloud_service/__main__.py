"""`python -m cloud_service`: the same as `loragen serve`."""

import sys

from cloud_service.cli import main

if __name__ == "__main__":
    main("serve", *sys.argv[1:])
