{{- /*
Whether a group of rules is wanted: "true" or nothing. Takes (dict "context" $ "group" ...). A group that watches
something optional names the value that switches it.
*/ -}}
{{- define "kube-prometheus.ruleGroupWanted" -}}
{{- $value := get .context.Values.rules.groups .group.name -}}
{{- if and $value .group.when -}}
  {{- $value = .context.Values -}}
  {{- range splitList "." .group.when -}}
    {{- $value = get ($value | default dict) . -}}
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
{{- $rules := list -}}
{{- range .group.rules -}}
  {{- $rule := . -}}
  {{- $change := dict -}}
  {{- if .alert -}}
    {{- $change = get $values.alerts .alert | default dict -}}
    {{- $_ := set .annotations "runbook_url" (replace "{alert}" .alert $values.runbookUrl) -}}
    {{- with $change.for }}{{- $_ := set $rule "for" . }}{{- end -}}
    {{- with $change.severity }}{{- $_ := set $rule.labels "severity" . }}{{- end -}}
    {{- with $change.labels }}{{- $_ := set $rule "labels" (merge (dict) . $rule.labels) }}{{- end -}}
  {{- end -}}
  {{- if dig "enabled" true $change }}{{- $rules = append $rules $rule }}{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- toYaml (list (set (omit .group "when") "rules" $rules)) -}}
{{- end -}}
{{- end -}}
