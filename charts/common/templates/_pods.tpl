{{- /*
Annotations of a pod template, as a field of its metadata: the user's and the chart's own.
Takes (dict "values" the component's values), and optionally "annotations", the chart's own as a dict.
*/ -}}
{{- define "maas.podAnnotations" -}}
{{- with merge dict (.annotations | default dict) .values.podAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /*
Scheduling of a component's pods, as fields of the pod's spec. A topology spread constraint without a labelSelector
selects the component's own pods. Takes (dict "context" $ "name" the component "values" its values).
*/ -}}
{{- define "maas.scheduling" -}}
{{- $fields := dict -}}
{{- range $key := list "priorityClassName" "nodeSelector" "affinity" "tolerations" -}}
{{- with get $.values $key -}}
{{- $_ := set $fields $key . -}}
{{- end -}}
{{- end -}}
{{- $own := dict "matchLabels" (include "maas.selectorLabels" . | fromYaml) -}}
{{- $defaults := dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $own -}}
{{- $constraints := list -}}
{{- range .values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (merge dict . $defaults) -}}
{{- end -}}
{{- with $constraints -}}
{{- $_ := set $fields "topologySpreadConstraints" . -}}
{{- end -}}
{{- if $fields -}}
{{- toYaml $fields -}}
{{- end -}}
{{- end -}}

{{- /*
A pod's security context. The Pod Security Standard `restricted` comes first, then what the image needs, then the user's
overrides. Takes (dict "values" the component's values), and optionally "defaults", what the image needs.
*/ -}}
{{- define "maas.podSecurityContext" -}}
{{- $restricted := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.defaults | default dict)) (deepCopy .values.podSecurityContext)) -}}
{{- end -}}

{{- /* A container's security context, built in the same way from the same arguments. */ -}}
{{- define "maas.securityContext" -}}
{{- $capabilities := dict "drop" (list "ALL") -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" $capabilities -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.defaults | default dict)) (deepCopy .values.securityContext)) -}}
{{- end -}}
