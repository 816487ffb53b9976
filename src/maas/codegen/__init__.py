"""Generators and checks of the charts' committed files: values, schemas, documentation, CRDs, rules."""
