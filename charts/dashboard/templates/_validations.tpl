{{- define "dashboard.validate" -}}
{{- include "maas.validateExposure" (dict "context" . "values" .Values) -}}
{{- if and .Values.bindings (not .Values.roles.create) -}}
{{- fail (printf "\n\nThere are bindings, but no roles to bind.\nSet:\n\n    %s: true\n" (include "maas.valuePath" (dict "context" . "path" "roles.create"))) -}}
{{- end -}}
{{- range $index, $binding := .Values.bindings -}}
{{- if not (or $binding.users $binding.groups $binding.accounts) -}}
{{- fail (printf "\n\nThe binding of the role %s names nobody.\nSet:\n\n    %s[%d].users: [NAME]\n" $binding.role (include "maas.valuePath" (dict "context" $ "path" "bindings")) $index) -}}
{{- end -}}
{{- end -}}
{{- end -}}
