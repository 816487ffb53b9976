{{- /*
Whether what watches something optional is wanted: "true" or nothing. A group or rule says in `when` which value switches
it. Takes (dict "context" $ "when" "scrapes.etcd"); no path is always wanted.
*/ -}}
{{- define "kube-prometheus.rulesWanted" -}}
{{- $value := true -}}
{{- if .when -}}
  {{- $value = .context.Values -}}
  {{- range splitList "." .when -}}
    {{- $value = get $value . -}}
  {{- end -}}
  {{- if kindIs "map" $value -}}
    {{- $value = $value.enabled -}}
  {{- end -}}
{{- end -}}
{{- if $value }}true{{ end -}}
{{- end -}}

{{- /*
A group of rules with the user's changes to single alerts, as an entry of a YAML list; nothing when no rule is left.
Takes (dict "context" $ "group" ...).
*/ -}}
{{- define "kube-prometheus.ruleGroup" -}}
{{- $values := .context.Values.rules -}}
{{- $context := .context -}}
{{- $rules := list -}}
{{- range .group.rules -}}
  {{- $rule := omit . "when" -}}
  {{- $change := dict -}}
  {{- if .alert -}}
    {{- $change = get $values.alerts .alert | default dict -}}
    {{- $_ := set .annotations "runbook_url" (replace "{alert}" .alert $values.runbookUrl) -}}
    {{- with $change.for }}{{- $_ := set $rule "for" . }}{{- end -}}
    {{- with $change.severity }}{{- $_ := set $rule.labels "severity" . }}{{- end -}}
    {{- with $change.labels }}{{- $_ := set $rule "labels" (merge (dict) . $rule.labels) }}{{- end -}}
  {{- end -}}
  {{- if and (dig "enabled" true $change) (include "kube-prometheus.rulesWanted" (dict "context" $context "when" .when)) -}}
    {{- $rules = append $rules $rule -}}
  {{- end -}}
{{- end -}}
{{- if $rules -}}
{{- toYaml (list (set (omit .group "when") "rules" $rules)) -}}
{{- end -}}
{{- end -}}
