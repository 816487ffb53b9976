{{- /*
"true" when a group or a rule is enabled. Its `when` is the path of the value that switches it, or PATH=TEXT for a value that
has to be this text; without one it is always enabled. Takes (dict "context" $ "when" "scrapes.etcd").
*/ -}}
{{- define "kube-prometheus.rules.enabled" -}}
{{- $value := true -}}
{{- if .when -}}
  {{- $condition := splitList "=" .when -}}
  {{- $value = .context.Values -}}
  {{- range splitList "." (first $condition) -}}
    {{- $value = get $value . -}}
  {{- end -}}
  {{- if kindIs "map" $value -}}
    {{- $value = $value.enabled -}}
  {{- end -}}
  {{- if rest $condition -}}
    {{- $value = eq $value (last $condition) -}}
  {{- end -}}
{{- end -}}
{{- if $value }}true{{ end -}}
{{- end -}}

{{- /*
A group of rules with the user's changes to alerts, as an entry of a YAML list; nothing when no rule is enabled.
Takes (dict "context" $ "group" the group).
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
  {{- if and (dig "enabled" true $change) (include "kube-prometheus.rules.enabled" (dict "context" $context "when" .when)) -}}
    {{- $rules = append $rules $rule -}}
  {{- end -}}
{{- end -}}
{{- if $rules -}}
{{- toYaml (list (set (omit .group "when") "rules" $rules)) -}}
{{- end -}}
{{- end -}}
