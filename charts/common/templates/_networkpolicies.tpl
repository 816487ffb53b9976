{{- /*
Every NetworkPolicy is made from two tables of a chart, files/components.yaml and files/flows.yaml; docs/policies.md is
generated from the same tables. A chart allows the flows between its own components, at both ends. The umbrella allows
those between components of different charts, because only it knows both namespaces.
*/ -}}

{{- /*
A component's NetworkPolicy, with the rules of the user.
Takes (dict "context" $ "name" the component "values" its values), and optionally
  "objectName"  name of the policy, where it is not the component's
  "anyone"      peers that stand for `anyone`
*/ -}}
{{- define "maas.networkPolicy" -}}
{{- if .values.networkPolicy.enabled -}}
{{- $components := .context.Files.Get "files/components.yaml" | fromYaml -}}
{{- $rules := dict "from" list "to" list -}}
{{- range $flow := .context.Files.Get "files/flows.yaml" | fromYamlArray -}}
{{- range $side, $otherSide := dict "from" "to" "to" "from" -}}
  {{- if and (eq $.name (get $flow $otherSide)) (include "maas.flow.enabled" (dict "flow" $flow "values" $.context.Values)) -}}
    {{- $peer := get $flow $side -}}
    {{- $peers := include "maas.flow.peers" (dict "context" $.context "name" $peer "components" $components) | fromYamlArray -}}
    {{- if eq $peer "anyone" -}}{{- $peers = $.anyone | default list -}}{{- end -}}
    {{- $end := dict "context" $.context "values" $.context.Values "flow" $flow "side" $side "peer" $peer "peers" $peers -}}
    {{- $_ := set $rules $side (append (get $rules $side) (include "maas.flow.rule" $end | fromYaml)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .objectName | default .name | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  {{- include "maas.flow.selector" (dict "context" .context "component" (get $components .name) "name" .name) | nindent 2 }}
  policyTypes: [Ingress, Egress]
  {{- with concat $rules.from .values.networkPolicy.ingress }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat $rules.to .values.networkPolicy.egress }}
  egress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* "true" when a flow is enabled. Takes (dict "flow" the flow "values" the values that its `when` refers to). */ -}}
{{- define "maas.flow.enabled" -}}
{{- if .flow.when -}}
{{- $value := include "maas.value.get" (dict "values" .values "path" .flow.when.path) -}}
{{- if or (eq $value (toString .flow.when.is)) (and $value (eq .flow.when.is "not empty")) -}}true{{- end -}}
{{- else -}}
true
{{- end -}}
{{- end -}}

{{- /* The selector of a component's pods. Takes (dict "context" $ "name" the component "component" its table entry). */ -}}
{{- define "maas.flow.selector" -}}
podSelector:
  matchLabels:
    app.kubernetes.io/name: {{ .name | quote }}
    app.kubernetes.io/instance: {{ .component.instance | default .context.Release.Name | quote }}
{{- end -}}

{{- /*
One end of a flow as peers of a rule, a YAML list; empty for every address. Takes (dict "context" $ "name" the end
"components" the table), and "namespace" where the component is not in the policy's own namespace.
*/ -}}
{{- define "maas.flow.peers" -}}
{{- $component := get .components .name -}}
{{- if $component -}}
{{- $namespace := ternary .context.Release.Namespace (.namespace | default "") (eq ($component.namespace | default "") "release") -}}
- {{ include "maas.flow.selector" (dict "context" .context "name" .name "component" $component) | nindent 2 | trim }}
  {{- with $namespace }}
  namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . | quote }}
  {{- end }}
{{- else if eq .name "api-server" -}}
{{- range .context.Values.global.apiServer.addresses -}}
- {ipBlock: {cidr: {{ . | quote }}}}
{{ end -}}
{{- end -}}
{{- end -}}

{{- /*
The ports of a flow, a YAML list; empty for every port.
Takes (dict "context" $ "flow" the flow "values" the values that its port is taken from "peer" the other end).
*/ -}}
{{- define "maas.flow.ports" -}}
{{- $port := .flow.port -}}
{{- if kindIs "map" $port -}}
{{- $port = include "maas.value.get" (dict "values" .values "path" $port.value) -}}
{{- end -}}
{{- if eq .peer "dns" -}}
- {port: 53, protocol: UDP}
- {port: 53, protocol: TCP}
{{- else if eq .peer "api-server" -}}
{{- range .context.Values.global.apiServer.ports -}}
- {port: {{ . }}, protocol: TCP}
{{ end -}}
{{- else if $port -}}
- {port: {{ $port }}, protocol: {{ .flow.protocol | default "TCP" }}}
{{- end -}}
{{- end -}}

{{- /*
One rule of a policy. Takes what "maas.flow.ports" takes, "peers", and "side", the policy's field for them: from or to.
*/ -}}
{{- define "maas.flow.rule" -}}
{{- $rule := dict -}}
{{- with include "maas.flow.ports" . | fromYamlArray -}}{{- $_ := set $rule "ports" . -}}{{- end -}}
{{- with .peers -}}{{- $_ := set $rule $.side . -}}{{- end -}}
{{- toYaml $rule -}}
{{- end -}}
