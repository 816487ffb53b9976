{{- /* The spec of a PersistentVolumeClaim. Takes the values `size` and `className`. */ -}}
{{- define "maas.storage.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{- /*
Fails for volumes that no StorageClass would provision. Needs a cluster; volumes that exist already are not checked.
Takes (dict "context" $ "volumes" a list), each volume a dict of
  "className"             its StorageClass, empty for the cluster's default
  "path"                  path of that value
  "of"                    whose volume it is
  "statefulSet", "claim"  name of the object that exists if the volume does, one of the two
*/ -}}
{{- define "maas.storage.validate" -}}
{{- $namespace := include "maas.namespace" .context -}}
{{- $owners := list -}}
{{- $settings := list -}}
{{- if include "maas.cluster.reachable" . -}}
  {{- range .volumes -}}
    {{- $present := true -}}
    {{- if .statefulSet -}}
    {{- $present = lookup "apps/v1" "StatefulSet" $namespace .statefulSet -}}
    {{- else -}}
    {{- $present = lookup "v1" "PersistentVolumeClaim" $namespace .claim -}}
    {{- end -}}
    {{- if not (or .className $present) -}}
    {{- $owners = append $owners .of -}}
    {{- $path := include "maas.value.path" (dict "context" $.context "path" .path) -}}
    {{- $settings = append $settings (printf "    %s: NAME" $path) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if $owners -}}
  {{- $default := list -}}
  {{- $names := list -}}
  {{- range (lookup "storage.k8s.io/v1" "StorageClass" "" "").items -}}
    {{- $names = append $names .metadata.name -}}
    {{- if eq (get (.metadata.annotations | default dict) "storageclass.kubernetes.io/is-default-class") "true" -}}
      {{- $default = append $default .metadata.name -}}
    {{- end -}}
  {{- end -}}
  {{- if not $default -}}
  {{- include "maas.fail" (list
    (printf "The cluster has no default StorageClass for the volume of %s." ($owners | join ", "))
    (printf "StorageClasses in the cluster: %s." ($names | join ", " | default "none"))
    "Set:"
    ""
    ($settings | join "\n")
    ""
    "or make one of them the default:"
    ""
    "    kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true"
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
