{{- /* The directories of files/dashboards, and the folders that they are in Grafana, as YAML. */ -}}
{{- define "kube-prometheus.dashboardFolders" -}}
kubernetes: Kubernetes
resources: Resources
nodes: Nodes
network: Network
platform: Platform
restaurant: Restaurant
{{- end -}}
