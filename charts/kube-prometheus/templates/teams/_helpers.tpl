{{- /* The namespaces of teams, as a YAML list. */ -}}
{{- define "kube-prometheus.teams" -}}
{{- keys .Values.teams.namespaces | sortAlpha | toYaml -}}
{{- end -}}

{{- /*
Peers of a network policy that stand for `anyone`, a YAML list: without teams, everyone. With teams, the pods of all other
namespaces and the API servers, because Prometheus and Alertmanager do not ask who their clients are.
*/ -}}
{{- define "kube-prometheus.anyone" -}}
{{- with include "kube-prometheus.teams" . | fromYamlArray -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: NotIn, values: {{ toJson . }}}
{{- range $.Values.global.apiServer.addresses }}
- ipBlock: {cidr: {{ . | quote }}}
{{- end }}
{{- end -}}
{{- end -}}

{{- /* A matcher that excludes the alerts of teams, as an entry of a YAML list; nothing without teams. */ -}}
{{- define "kube-prometheus.notOfTeams" -}}
{{- with include "kube-prometheus.teams" . | fromYamlArray -}}
, {{ printf "namespace!~%q" (join "|" .) | squote }}
{{- end -}}
{{- end -}}

{{- /*
A ValidatingAdmissionPolicy for the namespaces of teams with its binding.
Takes (dict "context" $ "name" its name "rules" a list of resourceRules "variables" and "validations" its fields).
*/ -}}
{{- define "kube-prometheus.teamPolicy" -}}
{{- $labels := include "maas.labels" (dict "context" .context "name" "teams" "component" "teams") -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .context.Release.Name }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  matchConstraints:
    resourceRules:
      {{- range .rules }}
      - {{ toYaml (merge (dict "operations" (list "CREATE" "UPDATE")) .) | nindent 8 | trim }}
      {{- end }}
  {{- with .variables }}
  variables:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  validations:
    {{- toYaml .validations | nindent 4 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .context.Release.Name }}-{{ .name }}
  labels:
    {{- $labels | nindent 4 }}
spec:
  policyName: {{ .context.Release.Name }}-{{ .name }}
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchExpressions:
        # The API server sets this label, and nobody can change it.
        - key: kubernetes.io/metadata.name
          operator: In
          values: {{ include "kube-prometheus.teams" .context | fromYamlArray | toJson }}
{{- end -}}

{{- /* A limit of each team as a map in CEL, by namespace. Takes (dict "context" $ "limit" its name). */ -}}
{{- define "kube-prometheus.teamLimits" -}}
{{- $limits := dict -}}
{{- range $namespace, $team := .context.Values.teams.namespaces -}}
{{- $_ := set $limits $namespace (get (merge dict ($team.limits | default dict) $.context.Values.teams.limits) $.limit | int64) -}}
{{- end -}}
{{- toJson $limits -}}
{{- end -}}
