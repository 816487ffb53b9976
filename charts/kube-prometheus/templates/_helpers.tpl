{{- /*
Whether metrics-server is installed: "true" or nothing. The metrics API has one owner per cluster, so another release's
is respected (auto) or refused (true).
*/ -}}
{{- define "kube-prometheus.metricsServer" -}}
{{- $enabled := .Values.metricsServer.enabled | toString -}}
{{- if ne $enabled "false" -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.metrics.k8s.io" -}}
  {{- $foreign := and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- if and $foreign (eq $enabled "true") -}}
    {{- $service := printf "%s/%s" (dig "spec" "service" "namespace" "?" $current) (dig "spec" "service" "name" "?" $current) -}}
    {{- $path := include "maas.valuePath" (dict "context" . "path" "metricsServer.enabled") -}}
    {{- fail (printf "\n\nThe metrics API is served by %s already, and %s is true.\nKeep that one and set:\n\n    %s: auto\n" $service $path $path) -}}
  {{- end -}}
  {{- if not $foreign -}}
  true
  {{- end -}}
{{- end -}}
{{- end -}}
