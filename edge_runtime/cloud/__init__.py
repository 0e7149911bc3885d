"""How a device talks to the cloud: it polls a channel, fetches files, watches for changes and reports."""
