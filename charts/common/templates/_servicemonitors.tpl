{{- /*
"true" when a ServiceMonitor is enabled. `auto` enables it if the cluster has the CRD.
Takes (dict "context" $ "serviceMonitor" the values).
*/ -}}
{{- define "maas.serviceMonitor.enabled" -}}
{{- $enabled := .serviceMonitor.enabled | toString -}}
{{- $hasCRD := .context.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor" -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") $hasCRD) -}}
true
{{- end -}}
{{- end -}}

{{- /*
A ServiceMonitor for a component's Service.
Takes (dict "context" $ "name" the component "endpoints" a list), and optionally
  "objectName"      name of the ServiceMonitor, where it is not the component's
  "serviceMonitor"  the values `enabled`, `interval` and `labels`; without them the ServiceMonitor is always rendered
  "component"       value of app.kubernetes.io/component that the Service must have
  "scrapeClass"     class of the Prometheus custom resource
An endpoint has the fields of a ServiceMonitor's endpoint. Each gets the relabeling `maas.relabeling.node` as its first,
unless it says `withoutNode`.
*/ -}}
{{- define "maas.serviceMonitor" -}}
{{- $values := .serviceMonitor | default dict -}}
{{- if or (not $values) (include "maas.serviceMonitor.enabled" .) -}}
{{- $endpoints := list -}}
{{- range .endpoints -}}
  {{- $node := ternary list (include "maas.relabeling.node" . | fromYamlArray) (.withoutNode | default false) -}}
  {{- $relabelings := concat $node (.relabelings | default list) -}}
  {{- $endpoint := merge (dict "relabelings" $relabelings) (omit . "withoutNode" "relabelings") -}}
  {{- with $values.interval -}}{{- $_ := set $endpoint "interval" . -}}{{- end -}}
  {{- $endpoints = append $endpoints $endpoint -}}
{{- end -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ .objectName | default .name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- $labels := include "maas.labels" (dict "context" .context "name" .name "component" .component) | fromYaml }}
    {{- toYaml (merge $labels ($values.labels | default dict)) | nindent 4 }}
spec:
  jobLabel: app.kubernetes.io/name
  {{- with .scrapeClass }}
  scrapeClass: {{ . | quote }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "maas.selectorLabels" . | nindent 6 }}
      {{- with .component }}
      app.kubernetes.io/component: {{ . | quote }}
      {{- end }}
  endpoints:
    {{- toYaml $endpoints | nindent 4 }}
{{- end -}}
{{- end -}}

{{- /* The relabeling that gives a pod's target the label `node`: alerts find the pods of a lost node by it. */ -}}
{{- define "maas.relabeling.node" -}}
- sourceLabels: [__meta_kubernetes_pod_node_name]
  targetLabel: node
{{- end -}}
