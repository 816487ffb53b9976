{{- /*
A component's entry in the chart's files/components.yaml, as YAML; an empty map for a name that is not in it.
Takes (dict "context" $ "name" the component).
*/ -}}
{{- define "maas.component" -}}
{{- get (.context.Files.Get "files/components.yaml" | fromYaml) .name | default dict | toYaml -}}
{{- end -}}

{{- /*
The version of a component: its image's tag, or the version of the application or of the chart.
Takes (dict "context" $ "component" its entry in files/components.yaml).
*/ -}}
{{- define "maas.version" -}}
{{- $version := .context.Chart.AppVersion | default .context.Chart.Version -}}
{{- with .component.image -}}
  {{- $image := $.context.Values -}}
  {{- range splitList "." . -}}
  {{- $image = get $image . -}}
  {{- end -}}
  {{- $version = $image.tag | default $version -}}
{{- end -}}
{{- $version | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{- /*
Labels that select a component's pods. Selectors are immutable, so these never change.
Takes (dict "context" $ "name" the component).
*/ -}}
{{- define "maas.selectorLabels" -}}
app.kubernetes.io/name: {{ .name | quote }}
app.kubernetes.io/instance: {{ .context.Release.Name | quote }}
{{- end -}}

{{- /*
Labels of a pod template: the selector's, the user's, and no label that changes with the chart's version, so that an
upgrade restarts only the pods that it changes.
Takes (dict "context" $ "name" the component), and optionally "values", the component's values.
*/ -}}
{{- define "maas.podLabels" -}}
{{- with (.values | default dict).podLabels }}
{{- toYaml (omit . "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of") }}
{{ end }}
{{- include "maas.selectorLabels" . }}
app.kubernetes.io/part-of: maas
{{- end -}}

{{- /*
Labels of every other object. Takes (dict "context" $ "name" the component), and "component" where the object's role is
not the one in files/components.yaml.
*/ -}}
{{- define "maas.labels" -}}
{{- $component := include "maas.component" . | fromYaml -}}
{{- $role := .component | default $component.role -}}
{{ include "maas.podLabels" (omit . "values") }}
app.kubernetes.io/component: {{ $role | required (printf "files/components.yaml of %s has no role for %s" .context.Chart.Name .name) | quote }}
app.kubernetes.io/version: {{ include "maas.version" (dict "context" .context "component" $component) | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end -}}
