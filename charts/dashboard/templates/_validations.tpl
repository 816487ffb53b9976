{{- define "dashboard.validate" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- include "maas.exposure.validate" (dict "context" . "values" .Values) -}}
{{- if and .Values.bindings (not .Values.roles.create) -}}
{{- include "maas.fail" (list
  (printf "%sbindings refer to cluster roles that this release does not create." $prefix)
  "Set:"
  ""
  (printf "    %sroles.create: true" $prefix)
) -}}
{{- end -}}
{{- range $index, $binding := .Values.bindings -}}
{{- if not (or $binding.users $binding.groups $binding.accounts) -}}
{{- include "maas.fail" (list
  (printf "The binding of the role %s has no users, groups or accounts." $binding.role)
  "Set:"
  ""
  (printf "    %sbindings[%d].users: [NAME]" $prefix $index)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
