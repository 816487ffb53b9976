{{- /* Volumes of whatever keeps one must have somebody who makes them. */ -}}
{{- define "kube-prometheus.validateStorage" -}}
{{- $root := . -}}
{{- $volumes := list -}}
{{- range $name := list "prometheus" "alertmanager" -}}
  {{- with get $root.Values $name -}}
  {{- if and .enabled .storage.enabled -}}
  {{- $volumes = append $volumes (dict "className" .storage.className "path" (printf "%s.storage.className" $name) "of" $name "statefulSet" (printf "%s-%s" $name (include "kube-prometheus.name" $root))) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- with .Values.grafana -}}
{{- if and .enabled .storage.enabled -}}
{{- $volumes = append $volumes (dict "className" .storage.className "path" "grafana.storage.className" "of" "grafana" "claim" "grafana") -}}
{{- end -}}
{{- end -}}
{{- include "maas.validateStorageClasses" (dict "context" $root "volumes" $volumes) -}}
{{- end -}}
