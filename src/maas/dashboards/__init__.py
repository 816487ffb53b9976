"""The dashboards of the monitoring chart, as code.

Each family is a module with the dashboards of one subject; `panels` and `document` are what they are made of, on the
types of Grafana's own SDK. The SDK is a tool of development: nothing here is imported by the commands for clusters,
which read the files that are generated.
"""
