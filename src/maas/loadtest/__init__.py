"""The load test: requests to the restaurant, sent from inside the cluster."""
