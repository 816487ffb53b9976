{{- /* The resources that kube-state-metrics exports and can read, by API group. Secrets are not among them. */ -}}
{{- define "kube-prometheus.stateResources" -}}
admissionregistration.k8s.io: [mutatingwebhookconfigurations, validatingwebhookconfigurations]
apps: [daemonsets, deployments, replicasets, statefulsets]
autoscaling: [horizontalpodautoscalers]
batch: [cronjobs, jobs]
certificates.k8s.io: [certificatesigningrequests]
coordination.k8s.io: [leases]
core:
  - limitranges
  - namespaces
  - nodes
  - persistentvolumeclaims
  - persistentvolumes
  - pods
  - replicationcontrollers
  - resourcequotas
  - services
discovery.k8s.io: [endpointslices]
networking.k8s.io: [ingresses, networkpolicies]
policy: [poddisruptionbudgets]
storage.k8s.io: [storageclasses, volumeattachments]
{{- end -}}
