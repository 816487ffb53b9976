{{- /*
An image reference. Without a tag, the chart's application version is the tag. A digest takes precedence over the tag.
Takes (dict "context" $ "image" .Values.image).
*/ -}}
{{- define "maas.image" -}}
{{- $registry := .context.Values.global.imageRegistry | default .image.registry -}}
{{- $registry }}/{{ .image.repository }}
{{- with .image.tag | default .context.Chart.AppVersion }}:{{ . }}{{ end }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* The image pull secrets, as a field of a pod's spec. Takes the chart's context. */ -}}
{{- define "maas.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ if kindIs "map" . }}{{ .name | quote }}{{ else }}{{ . | quote }}{{ end }}
  {{- end }}
{{- end }}
{{- end -}}
