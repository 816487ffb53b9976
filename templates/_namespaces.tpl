{{- /*
The components with their namespaces and Pod Security levels, as a YAML list. Calico programs the host's kernel, and
node-exporter reads the host's files; every other component runs as `restricted`.
*/ -}}
{{- define "maas.namespaces" -}}
{{- $monitoring := index .Values "kube-prometheus" -}}
- name: calico
  enabled: {{ .Values.calico.enabled }}
  namespace: {{ .Values.calico.namespaceOverride | default .Release.Namespace | quote }}
  podSecurity: privileged
- name: dashboard
  enabled: {{ .Values.dashboard.enabled }}
  namespace: {{ .Values.dashboard.namespaceOverride | default .Release.Namespace | quote }}
  podSecurity: restricted
- name: kube-prometheus
  enabled: {{ $monitoring.enabled }}
  namespace: {{ $monitoring.namespaceOverride | default .Release.Namespace | quote }}
  podSecurity: restricted
- name: kube-prometheus.nodeExporter
  enabled: {{ and $monitoring.enabled $monitoring.nodeExporter.enabled }}
  namespace: {{ $monitoring.nodeExporter.namespaceOverride | default $monitoring.namespaceOverride | default .Release.Namespace | quote }}
  podSecurity: privileged
- name: restaurant
  enabled: {{ .Values.restaurant.enabled }}
  namespace: {{ .Values.restaurant.namespaceOverride | default .Release.Namespace | quote }}
  podSecurity: restricted
{{- end -}}
