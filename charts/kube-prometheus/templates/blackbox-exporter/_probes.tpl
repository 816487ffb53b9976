{{- /*
The configuration of blackbox-exporter: a module for each probe, because what a probe expects is part of its module. It
gives up before Prometheus does, after 10 seconds, so that its metrics say why.
Takes the values of the chart.
*/ -}}
{{- define "kube-prometheus.probeModules" -}}
{{- $modules := dict -}}
{{- range $name, $probe := .probes.targets -}}
{{- $type := .type | default "http" -}}
{{- $options := dict "preferred_ip_protocol" "ip4" -}}
{{- if eq $type "http" -}}
  {{- with .status -}}{{- $_ := set $options "valid_status_codes" . -}}{{- end -}}
  {{- with .content -}}{{- $_ := set $options "fail_if_body_not_matches_regexp" (list .) -}}{{- end -}}
{{- else if eq $type "tcp" -}}
  {{- if .tls -}}{{- $_ := set $options "tls" true -}}{{- end -}}
{{- else if eq $type "dns" -}}
  {{- $_ := set $options "query_name" .query -}}
  {{- $_ := set $options "query_type" (.recordType | default "A") -}}
{{- end -}}
{{- $prober := get (dict "ping" "icmp") $type | default $type -}}
{{- $_ := set $modules $name (dict "prober" $prober "timeout" "9s" $prober $options) -}}
{{- end -}}
{{- toYaml (dict "modules" $modules) -}}
{{- end -}}
