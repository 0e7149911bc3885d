"""What devices follow and say: channels and their history, staged rollouts, reports, retention, watches."""
