{{- /* Port of the Service: the value, or the engine's default. */ -}}
{{- define "dashboard.port" -}}
{{- .Values.service.port | default (ternary 443 80 (eq .Values.engine "kubernetes-dashboard")) -}}
{{- end -}}

{{- /* The Service of an engine. Takes (dict "context" $ "name" the engine "port" the name of its port). */ -}}
{{- define "dashboard.service" -}}
{{- $service := .context.Values.service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  type: {{ $service.type | quote }}
  selector:
    {{- include "maas.selectorLabels" (dict "context" .context "name" .name) | nindent 4 }}
  ports:
    - name: {{ .port }}
      port: {{ include "dashboard.port" .context }}
      targetPort: {{ .port }}
      protocol: TCP
      appProtocol: {{ .port }}
      {{- with $service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
{{- end -}}
