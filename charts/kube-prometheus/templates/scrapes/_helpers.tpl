{{- /*
A ScrapeConfig for pods that share a label. A PodMonitor needs a declared port, which static pods do not have in every
version of kubeadm. A ServiceMonitor needs a Service in kube-system, which an uninstall would have to delete.
Takes (dict "context" $ "name" the job "label" a label selector "port" the port), and optionally
  "namespace"  namespace of the pods
  "secure"     true for HTTPS with the scrape class `kubernetes`
*/ -}}
{{- define "kube-prometheus.podScrape" -}}
apiVersion: monitoring.coreos.com/v1alpha1
kind: ScrapeConfig
metadata:
  name: {{ .name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name "component" "scrape-config") | nindent 4 }}
spec:
  jobName: {{ .name | quote }}
  {{- if .secure }}
  scheme: HTTPS
  scrapeClass: kubernetes
  {{- end }}
  kubernetesSDConfigs:
    - role: Pod
      {{- with .namespace }}
      namespaces:
        names: [{{ . | quote }}]
      {{- end }}
      selectors:
        - role: Pod
          label: {{ .label | quote }}
  relabelings:
    - sourceLabels: [__meta_kubernetes_pod_phase]
      regex: Failed|Succeeded
      action: drop
    - sourceLabels: [__meta_kubernetes_pod_ip]
      regex: (.+)
      targetLabel: __address__
      replacement: $1:{{ .port }}
    - sourceLabels: [__meta_kubernetes_namespace]
      targetLabel: namespace
    - sourceLabels: [__meta_kubernetes_pod_name]
      targetLabel: pod
    {{- include "maas.relabeling.node" .context | nindent 4 }}
  metricRelabelings:
    {{- include "kube-prometheus.droppedMetrics" .context | nindent 4 }}
{{- end -}}

{{- /* Drops metrics of Kubernetes that nothing here uses: a series per feature gate, and a histogram per informer. */ -}}
{{- define "kube-prometheus.droppedMetrics" -}}
- sourceLabels: [__name__]
  regex: kubernetes_feature_enabled|informer_processing_latency_seconds_bucket
  action: drop
{{- end -}}
