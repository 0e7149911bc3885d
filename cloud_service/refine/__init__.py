"""A recipe tuned on the labelled examples of its own request: the queue, and the way from request to store."""
