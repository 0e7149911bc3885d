"""The main job as a client sees it: task descriptions in, a device that answers without them out, measured."""
