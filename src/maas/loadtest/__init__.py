"""The load test: guests for the restaurant, sent from inside the cluster."""
