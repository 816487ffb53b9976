{{- /*
The namespace of a chart's objects. Helm has no namespace per subchart, so each chart takes one as a value.
Takes the chart's context.
*/ -}}
{{- define "maas.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- /*
What precedes a value's path in the user's own values file: "restaurant." when the umbrella installs the chart, nothing
when the chart is installed alone, and "maas.restaurant." when the umbrella is a dependency itself. Takes the chart's context.
*/ -}}
{{- define "maas.value.prefix" -}}
{{- range regexSplit "/charts/" (trimSuffix "/templates" .Template.BasePath) -1 | rest }}{{ . }}.{{ end -}}
{{- end -}}

{{- /* The path of a value in the user's own values file. Takes (dict "context" $ "path" "ipPool.cidr"). */ -}}
{{- define "maas.value.path" -}}
{{- include "maas.value.prefix" .context }}{{ .path }}
{{- end -}}

{{- /* A value by its path, as text. Takes (dict "values" the chart's values "path" "database.external.port"). */ -}}
{{- define "maas.value.get" -}}
{{- $found := .values -}}
{{- range splitList "." .path -}}
{{- $found = get $found . -}}
{{- end -}}
{{- $found -}}
{{- end -}}
