"""The dashboards of the monitoring chart, as code.

Each module has the dashboards of one subject. They are built from `model` (dashboards and variables), `panels`,
`shared_panels` and `promql`, on the types of Grafana's SDK. The SDK is needed for development only: the commands for
clusters read the generated files and do not import these modules.
"""
