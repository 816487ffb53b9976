"""A running cluster: its API, the tunnel to it, its Helm release, credentials, certificates and checks."""
