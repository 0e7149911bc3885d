"""`python -m cloud_service`: the same as `loragen serve`."""

import sys

from cloud_service.cli import app

app(["serve", *sys.argv[1:]], prog_name="python -m cloud_service")
