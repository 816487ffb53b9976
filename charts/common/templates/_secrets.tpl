{{- /*
A Secret whose values are generated at the first installation and kept by upgrades. It also survives an uninstall, like
the volumes that its values belong to.
Takes (dict "context" $ "name" the component "objectName" the Secret's name "generated" a list of keys), and optionally
"data", a dict of further keys with their values.
*/ -}}
{{- define "maas.persistentSecret" -}}
{{- $current := lookup "v1" "Secret" (include "maas.namespace" .context) .objectName -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .objectName | quote }}
  namespace: {{ include "maas.namespace" .context | quote }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
type: Opaque
data:
  {{- range $key, $value := .data }}
  {{ $key | quote }}: {{ $value | b64enc }}
  {{- end }}
  {{- range $key := .generated }}
  {{ $key | quote }}: {{ dig "data" $key (randAlphaNum 48 | b64enc) $current }}
  {{- end }}
{{- end -}}
