{{- /*
Whether metrics-server is installed: "true" or nothing. The metrics API has one owner per cluster, so another release's
is respected (auto) or refused (true).
*/ -}}
{{- define "kube-prometheus.metricsServer" -}}
{{- $enabled := .Values.metricsServer.enabled | toString -}}
{{- if ne $enabled "false" -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.metrics.k8s.io" -}}
  {{- $foreign := and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- if and $foreign (eq $enabled "true") -}}
    {{- $service := printf "%s/%s" (dig "spec" "service" "namespace" "?" $current) (dig "spec" "service" "name" "?" $current) -}}
    {{- $path := include "maas.valuePath" (dict "context" . "path" "metricsServer.enabled") -}}
    {{- fail (printf "\n\nThe metrics API is served by %s already, and %s is true.\nKeep that one and set:\n\n    %s: auto\n" $service $path $path) -}}
  {{- end -}}
  {{- if not $foreign -}}
  true
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* The name of the custom resources, and so of what the operator makes of them. */ -}}
{{- define "kube-prometheus.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* The namespace of node-exporter, which looks at the host and so may need one of its own. */ -}}
{{- define "kube-prometheus.nodeExporterNamespace" -}}
{{- .Values.nodeExporter.namespaceOverride | default (include "maas.namespace" .) -}}
{{- end -}}

{{- /*
A volume claim's spec, of which only the size and the class are the user's.
Takes a `storage` of the values.
*/ -}}
{{- define "kube-prometheus.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{- /*
Where people reach a component: what they say, or the first host of its Ingress, or its Service.
Takes (dict "context" $ "values" the component's "service" its Service's name).
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

{{- /* The bytes of a volume that samples may take: the user's word, or four fifths, as Prometheus writes them. */ -}}
{{- define "kube-prometheus.retentionSize" -}}
{{- with .Values.prometheus -}}
{{- if .retentionSize -}}
{{ .retentionSize }}
{{- else if .storage.enabled -}}
{{- $factor := dict "Ki" 0.0009765625 "Mi" 1.0 "Gi" 1024.0 "Ti" 1048576.0 -}}
{{- $unit := .storage.size | trunc -2 -}}
{{- $number := .storage.size | trimSuffix $unit | float64 -}}
{{ mulf $number (get $factor $unit) 0.8 | floor | int64 }}MiB
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
A Secret's value that is made once and kept: what the cluster has, or something new.
Takes (dict "context" $ "name" the Secret "key" ...).
*/ -}}
{{- define "kube-prometheus.keptSecret" -}}
{{- $current := lookup "v1" "Secret" (include "maas.namespace" .context) .name -}}
{{- dig "data" .key (randAlphaNum 32 | b64enc) $current -}}
{{- end -}}

{{- /* Relabelling by which a target of the kind pod carries its node. */ -}}
{{- define "kube-prometheus.nodeOfPod" -}}
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: node
{{- end -}}

{{- /* How a component is asked: https where it has a certificate. Takes the component's values. */ -}}
{{- define "kube-prometheus.scheme" -}}
{{- ternary "http" "https" (empty (.tls | default dict).existingSecret) -}}
{{- end -}}

{{- /*
How a monitor asks a component that has a certificate, as fields of an endpoint; nothing for one that has none.
Takes (dict "values" the component's "name" its name "namespace" its namespace).
*/ -}}
{{- define "kube-prometheus.secured" -}}
{{- with .values.tls.existingSecret -}}
scheme: https
tlsConfig:
  {{- include "kube-prometheus.authority" $ | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* Whose certificate is believed, as fields of a tlsConfig. Takes what "kube-prometheus.secured" takes. */ -}}
{{- define "kube-prometheus.authority" -}}
ca:
  secret: {name: {{ .values.tls.existingSecret }}, key: ca.crt}
serverName: {{ .name }}.{{ .namespace }}.svc
{{- end -}}

{{- /* The certificate of a custom resource's web server, as its field. Takes the component's values. */ -}}
{{- define "kube-prometheus.webCertificate" -}}
{{- with .tls.existingSecret -}}
web:
  tlsConfig:
    cert:
      secret: {name: {{ . }}, key: tls.crt}
    keySecret: {name: {{ . }}, key: tls.key}
{{- end -}}
{{- end -}}

{{- /*
What a custom resource changes in the containers that the operator makes, as its field; nothing by default.
Takes (dict "values" the component's "name" its container).
*/ -}}
{{- define "kube-prometheus.containers" -}}
{{- if or .values.securityContext .values.tls.existingSecret -}}
containers:
  {{- with .values.securityContext }}
  - name: {{ $.name }}
    securityContext:
      {{- toYaml . | nindent 6 }}
  {{- end }}
  {{- if .values.tls.existingSecret }}
  # It serves the same certificate, and the operator has it probed by http whatever it serves.
  - name: config-reloader
    {{- range list "startupProbe" "readinessProbe" "livenessProbe" }}
    {{ . }}:
      httpGet: {path: /healthz, port: reloader-web, scheme: HTTPS}
    {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* The configuration of a web server of the Prometheus project with the certificate that is mounted at /certificate. */ -}}
{{- define "kube-prometheus.webConfiguration" -}}
tls_server_config: {cert_file: /certificate/tls.crt, key_file: /certificate/tls.key}
{{ end -}}

{{- /* That configuration and the certificate as one volume. Takes (dict "secret" the Secret "configMap" ...). */ -}}
{{- define "kube-prometheus.certificateVolume" -}}
- name: certificate
  projected:
    defaultMode: 0444
    sources:
      - configMap:
          name: {{ .configMap }}
      - secret:
          name: {{ .secret }}
          items:
            - {key: tls.crt, path: tls.crt}
            - {key: tls.key, path: tls.key}
{{- end -}}

{{- /* A ConfigMap with that configuration. Takes (dict "context" $ "name" the component "namespace" its namespace). */ -}}
{{- define "kube-prometheus.webConfigMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .name }}-web
  namespace: {{ .namespace }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
data:
  web.yaml: |
    {{- include "kube-prometheus.webConfiguration" . | nindent 4 }}
{{- end -}}
