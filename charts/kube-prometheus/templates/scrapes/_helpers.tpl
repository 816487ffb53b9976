{{- /*
A ScrapeConfig for pods of kube-system that share a label. The operator's PodMonitor would need a declared port, which
static pods do not have in every version of kubeadm; a Service in kube-system would be one more thing to clean up.
Takes (dict "context" $ "name" the job "label" a selector "port" ... "secure" whether Kubernetes' own way in "namespace").
*/ -}}
{{- define "kube-prometheus.podScrape" -}}
apiVersion: monitoring.coreos.com/v1alpha1
kind: ScrapeConfig
metadata:
  name: {{ .name }}
  namespace: {{ include "maas.namespace" .context }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  jobName: {{ .name }}
  {{- if .secure }}
  scheme: HTTPS
  scrapeClass: kubernetes
  {{- end }}
  kubernetesSDConfigs:
    - role: Pod
      {{- with .namespace }}
      namespaces:
        names: [{{ . }}]
      {{- end }}
      selectors:
        - role: Pod
          label: {{ .label }}
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
    {{- include "kube-prometheus.nodeOfPod" .context | nindent 4 }}
  metricRelabelings:
    {{- include "kube-prometheus.uselessMetrics" .context | nindent 4 }}
{{- end -}}

{{- /*
What every program of Kubernetes tells and nobody reads here: a series per feature gate, and a histogram per informer.
*/ -}}
{{- define "kube-prometheus.uselessMetrics" -}}
- sourceLabels: [__name__]
  regex: kubernetes_feature_enabled|informer_processing_latency_seconds_bucket
  action: drop
{{- end -}}
