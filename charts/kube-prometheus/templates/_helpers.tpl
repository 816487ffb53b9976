{{- /*
"true" when metrics-server is installed. A cluster has only one provider of the metrics API: `auto` keeps another
release's provider, and `true` fails for it.
*/ -}}
{{- define "kube-prometheus.metricsServer.enabled" -}}
{{- $enabled := .Values.metricsServer.enabled | toString -}}
{{- if ne $enabled "false" -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.metrics.k8s.io" -}}
  {{- $foreign := and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- if and $foreign (eq $enabled "true") -}}
    {{- $path := include "maas.value.path" (dict "context" . "path" "metricsServer.enabled") -}}
    {{- include "maas.fail" (list
      (printf "%s already serves the metrics API, but %s is true." (include "maas.apiService.backend" $current) $path)
      "A cluster can have only one provider. To keep it, set:"
      ""
      (printf "    %s: auto" $path)
    ) -}}
  {{- end -}}
  {{- if not $foreign -}}
  true
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* The name of the custom resources. The operator derives the names of its own objects from it. */ -}}
{{- define "kube-prometheus.name" -}}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* The namespace of node-exporter. It reads the host, which a namespace that enforces `restricted` does not allow. */ -}}
{{- define "kube-prometheus.nodeExporterNamespace" -}}
{{- .Values.nodeExporter.namespaceOverride | default (include "maas.namespace" .) -}}
{{- end -}}

{{- /*
The URL at which users reach a component: the value externalUrl, the first host of the Ingress, or the Service.
Takes (dict "context" $ "values" the component's values "service" its Service's name).
*/ -}}
{{- define "kube-prometheus.externalUrl" -}}
{{- with .values -}}
{{- if .externalUrl -}}
{{ .externalUrl }}
{{- else if and .ingress.enabled .ingress.hosts -}}
{{ ternary "https" "http" (ne .ingress.tlsSecret "") }}://{{ first .ingress.hosts }}/
{{- else -}}
{{ include "kube-prometheus.scheme" . }}://{{ $.service }}.{{ include "maas.namespace" $.context }}:{{ .service.port }}/
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The retention size of Prometheus: the value, or 80 % of the volume. */ -}}
{{- define "kube-prometheus.retentionSize" -}}
{{- with .Values.prometheus -}}
{{- if .retentionSize -}}
{{ .retentionSize }}
{{- else if .storage.enabled -}}
{{ divf (mulf (include "maas.bytes" .storage.size | float64) 0.8) 1048576 | floor | int64 }}MiB
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
The version of a program, for what depends on it: the value, or the version in the image's tag; empty without one.
Takes the component's values.
*/ -}}
{{- define "kube-prometheus.version" -}}
{{- .version | default (regexFind "^v?[0-9]+[.][0-9]+[.][0-9]+" (regexFind "^v?[0-9]+[.][0-9]+[.][0-9]+([-._].*)?$" .image.tag)) -}}
{{- end -}}

{{- /* The scheme of a component's web server: https if it has a certificate. Takes the component's values. */ -}}
{{- define "kube-prometheus.scheme" -}}
{{- ternary "http" "https" (empty (.tls | default dict).existingSecret) -}}
{{- end -}}

{{- /*
The TLS fields of an endpoint that scrapes a component; nothing for a component without a certificate.
Takes (dict "values" the component's values "name" its name "namespace" its namespace).
*/ -}}
{{- define "kube-prometheus.tlsConfig" -}}
{{- with .values.tls.existingSecret -}}
scheme: https
tlsConfig:
  {{- include "kube-prometheus.caConfig" $ | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* The trusted CA, as fields of a tlsConfig. Takes what "kube-prometheus.tlsConfig" takes. */ -}}
{{- define "kube-prometheus.caConfig" -}}
ca:
  secret: {name: {{ .values.tls.existingSecret | quote }}, key: ca.crt}
serverName: {{ .name }}.{{ .namespace }}.svc
{{- end -}}

{{- /* The certificate of a web server, as a field of its custom resource. Takes the component's values. */ -}}
{{- define "kube-prometheus.webCertificate" -}}
{{- with .tls.existingSecret -}}
web:
  tlsConfig:
    cert:
      secret: {name: {{ . | quote }}, key: tls.crt}
    keySecret: {name: {{ . | quote }}, key: tls.key}
{{- end -}}
{{- end -}}

{{- /*
Changes to the containers that the operator creates, as a field of the custom resource; nothing by default.
Takes (dict "values" the component's values "name" its container).
*/ -}}
{{- define "kube-prometheus.containers" -}}
{{- if or .values.securityContext .values.tls.existingSecret -}}
containers:
  {{- with .values.securityContext }}
  - name: {{ $.name | quote }}
    securityContext:
      {{- toYaml . | nindent 6 }}
  {{- end }}
  {{- if .values.tls.existingSecret }}
  # It serves the same certificate, but the operator always probes it over HTTP.
  - name: config-reloader
    {{- range list "startupProbe" "readinessProbe" "livenessProbe" }}
    {{ . }}:
      httpGet: {path: /healthz, port: reloader-web, scheme: HTTPS}
    {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* The web configuration of a Prometheus exporter, with the certificate that is mounted at /certificate. */ -}}
{{- define "kube-prometheus.webConfiguration" -}}
tls_server_config: {cert_file: /certificate/tls.crt, key_file: /certificate/tls.key}
{{ end -}}

{{- /*
The web configuration and the certificate as one volume.
Takes (dict "secret" the Secret's name "configMap" the ConfigMap's name).
*/ -}}
{{- define "kube-prometheus.certificateVolume" -}}
- name: certificate
  projected:
    defaultMode: 0444
    sources:
      - configMap:
          name: {{ .configMap | quote }}
      - secret:
          name: {{ .secret | quote }}
          items:
            - {key: tls.crt, path: tls.crt}
            - {key: tls.key, path: tls.key}
{{- end -}}

{{- /* A ConfigMap with the web configuration. Takes (dict "context" $ "name" the component "namespace" its namespace). */ -}}
{{- define "kube-prometheus.webConfigMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-web
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
data:
  web.yaml: |
    {{- include "kube-prometheus.webConfiguration" . | nindent 4 }}
{{- end -}}
