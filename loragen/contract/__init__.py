"""What cloud and edge agree on: formats, assembly, limits, names, errors and generated stubs. No torch, no network."""
