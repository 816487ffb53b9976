{{- /*
An Ingress for a component's Service. Takes (dict "context" $ "name" the component "ingress" its values), and optionally
  "objectName"  name of the Service and of the Ingress, where it is not the component's
  "port"        name of the Service's port; "http" by default
  "path"        path of the hosts; all of them by default
*/ -}}
{{- define "maas.ingress" -}}
{{- $name := .objectName | default .name -}}
{{- if .ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ $name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
  {{- with .ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .ingress.className }}
  ingressClassName: {{ . | quote }}
  {{- end }}
  {{- if .ingress.tlsSecret }}
  tls:
    - secretName: {{ .ingress.tlsSecret | quote }}
      hosts:
        {{- toYaml .ingress.hosts | nindent 8 }}
  {{- end }}
  rules:
    {{- range .ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: {{ $.path | default "/" | quote }}
            pathType: Prefix
            backend:
              service:
                name: {{ $name | quote }}
                port:
                  name: {{ $.port | default "http" | quote }}
    {{- end }}
{{- end -}}
{{- end -}}

{{- /*
An HTTPRoute for a component's Service. Takes (dict "context" $ "name" the component "httpRoute" its values "port" the
Service's port), and optionally "objectName" and "path", as an Ingress does.
*/ -}}
{{- define "maas.httpRoute" -}}
{{- $name := .objectName | default .name -}}
{{- if .httpRoute.enabled -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ $name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  parentRefs:
    {{- toYaml .httpRoute.parentRefs | nindent 4 }}
  {{- with .httpRoute.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs:
        - name: {{ $name | quote }}
          port: {{ .port }}
      {{- with .path }}
      matches:
        - path:
            type: PathPrefix
            value: {{ . | quote }}
      {{- end }}
{{- end -}}
{{- end -}}

{{- /*
Fails for an Ingress without a host, and for an HTTPRoute without a Gateway.
Takes (dict "context" $ "values" the values with ingress and httpRoute), and optionally
  "path"  path of these values, with a dot at its end; the chart's own values by default
  "name"  first label of the host in the example; the chart's name by default
*/ -}}
{{- define "maas.exposure.validate" -}}
{{- $path := include "maas.value.path" (dict "context" .context "path" (.path | default "")) -}}
{{- if and .values.ingress.enabled (not .values.ingress.hosts) -}}
  {{- include "maas.fail" (list
    "An Ingress needs at least one host name."
    "Set:"
    ""
    (printf "    %singress.hosts: [%s.example.org]" $path (.name | default .context.Chart.Name))
  ) -}}
{{- end -}}
{{- if and .values.httpRoute.enabled (not .values.httpRoute.parentRefs) -}}
  {{- include "maas.fail" (list
    "An HTTPRoute needs a Gateway to attach to."
    "Set:"
    ""
    (printf "    %shttpRoute.parentRefs: [{name: GATEWAY, namespace: NAMESPACE}]" $path)
  ) -}}
{{- end -}}
{{- end -}}
