{{- /*
What every chart of MaaS does in one way: namespace, labels, images, scheduling.

The same file lies in the umbrella and in each subchart, because a subchart must also install alone. The umbrella's is
the original; `maas generate` copies it and `maas lint` refuses a difference.
*/ -}}

{{- /* The namespace of this chart's objects. Helm has no namespace per subchart, so each takes one as a value. */ -}}
{{- define "maas.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- /* Labels that select a component's pods; they must never change. Takes (dict "context" $ "name" ...). */ -}}
{{- define "maas.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{- end -}}

{{- /*
Labels of a pod template: the selector's and what does not change from one chart version to the next, so that an
upgrade of the chart alone restarts nothing.
*/ -}}
{{- define "maas.podLabels" -}}
{{ include "maas.selectorLabels" . }}
app.kubernetes.io/part-of: maas
{{- end -}}

{{- /* Labels of every other object. */ -}}
{{- define "maas.labels" -}}
{{ include "maas.podLabels" . }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- /*
An image reference. No tag means the chart's application version; a digest, where given, decides over the tag.
Takes (dict "context" $ "image" .Values.image).
*/ -}}
{{- define "maas.image" -}}
{{- $registry := .context.Values.global.imageRegistry | default .image.registry -}}
{{- $registry }}/{{ .image.repository }}
{{- with .image.tag | default .context.Chart.AppVersion }}:{{ . }}{{ end }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* The pull secrets of a pod, as a field of its spec. */ -}}
{{- define "maas.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Where a component's pods may run, as fields of the pod's spec. Takes the component's values. */ -}}
{{- define "maas.scheduling" -}}
{{- $fields := dict -}}
{{- range $key := list "priorityClassName" "nodeSelector" "affinity" "tolerations" -}}
{{- with get $ $key -}}
{{- $_ := set $fields $key . -}}
{{- end -}}
{{- end -}}
{{- if $fields -}}
{{- toYaml $fields -}}
{{- end -}}
{{- end -}}

{{- /*
The path of one of this chart's values as the person at the keyboard writes it: under the subchart's name when the
umbrella installs it, bare when it is installed alone. Takes (dict "context" $ "path" "ipPool.cidr").
*/ -}}
{{- define "maas.valuePath" -}}
{{- if not .context.Chart.IsRoot }}{{ .context.Chart.Name }}.{{ end }}{{ .path }}
{{- end -}}

{{- /* Whether an object read from the cluster belongs to this release. Takes (dict "context" $ "object" ...). */ -}}
{{- define "maas.ownedByRelease" -}}
{{- $annotations := dig "metadata" "annotations" dict .object -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") .context.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .context.Release.Namespace) -}}
true
{{- end -}}
{{- end -}}
