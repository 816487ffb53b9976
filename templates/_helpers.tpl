{{- /*
The components with their namespaces and Pod Security levels. Calico's data plane programs the host's kernel, and
node-exporter looks at the host's files; nothing else needs more than `restricted`.
*/ -}}
{{- define "maas.components" -}}
- name: calico
  enabled: {{ .Values.calico.enabled }}
  namespace: {{ .Values.calico.namespaceOverride | default .Release.Namespace }}
  podSecurity: privileged
- name: dashboard
  enabled: {{ .Values.dashboard.enabled }}
  namespace: {{ .Values.dashboard.namespaceOverride | default .Release.Namespace }}
  podSecurity: restricted
- name: kube-prometheus
  enabled: {{ (index .Values "kube-prometheus").enabled }}
  namespace: {{ (index .Values "kube-prometheus").namespaceOverride | default .Release.Namespace }}
  podSecurity: restricted
- name: kube-prometheus.nodeExporter
  enabled: {{ and (index .Values "kube-prometheus").enabled (index .Values "kube-prometheus").nodeExporter.enabled }}
  namespace: {{ (index .Values "kube-prometheus").nodeExporter.namespaceOverride | default (index .Values "kube-prometheus").namespaceOverride | default .Release.Namespace }}
  podSecurity: privileged
- name: restaurant
  enabled: {{ .Values.restaurant.enabled }}
  namespace: {{ .Values.restaurant.namespaceOverride | default .Release.Namespace }}
  podSecurity: restricted
{{- end -}}
