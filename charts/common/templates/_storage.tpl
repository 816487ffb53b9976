{{- /* A quantity of bytes as a number. Takes the quantity. */ -}}
{{- define "maas.bytes" -}}
{{- $unit := regexFind "[A-Za-z]*$" . -}}
{{- $factor := 1 -}}
{{- range $index, $prefix := list "k" "m" "g" "t" "p" -}}
  {{- if hasPrefix $prefix (lower $unit) -}}
  {{- range until (add1 $index | int) -}}{{- $factor = mul $factor (ternary 1024 1000 (hasSuffix "i" $unit)) -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- mulf (trimSuffix $unit .) $factor | ceil | int64 -}}
{{- end -}}

{{- /* A quantity of bytes as the API server returns it: 1.5Gi is 1536Mi. Takes the quantity. */ -}}
{{- define "maas.quantity" -}}
{{- $number := include "maas.bytes" . | int64 -}}
{{- $unit := "" -}}
{{- range list "Ki" "Mi" "Gi" "Ti" "Pi" -}}
  {{- if eq (mod $number 1024) 0 -}}
  {{- $number = div $number 1024 -}}
  {{- $unit = . -}}
  {{- end -}}
{{- end -}}
{{- $number }}{{ $unit -}}
{{- end -}}

{{- /* The spec of a PersistentVolumeClaim. Takes the values `size` and `className`. */ -}}
{{- define "maas.storage.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .className }}
storageClassName: {{ . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ include "maas.quantity" .size | quote }}
{{- end -}}

{{- /*
Fails for volumes that no StorageClass would provision. Needs a cluster; volumes that exist already are not checked.
Takes (dict "context" $ "volumes" a list), each volume a dict of
  "storage"               the values `size` and `className`
  "path"                  path of these values
  "of"                    whose volume it is
  "statefulSet", "claim"  name of the object that exists if the volume does, one of the two
  "claims"                with a StatefulSet, names of its PersistentVolumeClaims
  "operator"              with a StatefulSet, whether an operator re-creates it when its volumes change
*/ -}}
{{- define "maas.storage.validate" -}}
{{- range .volumes -}}
{{- include "maas.storage.validateChange" (dict "context" $.context "volume" .) -}}
{{- end -}}
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
    {{- if not (or .storage.className $present) -}}
    {{- $owners = append $owners .of -}}
    {{- $path := include "maas.value.path" (dict "context" $.context "path" (printf "%s.className" .path)) -}}
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

{{- /*
Fails for a change to a volume that the API server would refuse in the middle of an upgrade, or that nobody would make: the
claims of a StatefulSet keep their size. Takes (dict "context" $ "volume" an entry as above).
*/ -}}
{{- define "maas.storage.validateChange" -}}
{{- $namespace := include "maas.namespace" .context -}}
{{- $path := include "maas.value.path" (dict "context" .context "path" .volume.path) -}}
{{- with .volume -}}
{{- $wanted := include "maas.bytes" .storage.size | int64 -}}
{{- $set := dict -}}
{{- if .statefulSet -}}{{- $set = lookup "apps/v1" "StatefulSet" $namespace .statefulSet -}}{{- end -}}
{{- $template := dig "spec" "volumeClaimTemplates" list $set | first | default dict -}}
{{- $patches := list -}}
{{- $current := "" -}}
{{- range $name := .claims | default (list .claim) -}}
  {{- $claim := lookup "v1" "PersistentVolumeClaim" $namespace $name -}}
  {{- $size := dig "spec" "resources" "requests" "storage" "" $claim -}}
  {{- $class := dig "spec" "storageClassName" "" $claim -}}
  {{- if and $class $.volume.storage.className (ne $class $.volume.storage.className) -}}
  {{- include "maas.fail" (list
    (printf "The volume of %s has the StorageClass %s, but %s.className is %s." $.volume.of $class $path $.volume.storage.className)
    "A volume keeps its class. Set:"
    ""
    (printf "    %s.className: %s" $path $class)
    ""
    "or move the data to a new volume; see docs/runbooks/KubePersistentVolumeFillingUp.md."
  ) -}}
  {{- end -}}
  {{- if $size -}}
  {{- $bytes := include "maas.bytes" $size | int64 -}}
  {{- if gt $wanted $bytes -}}
    {{- $current = $size -}}
    {{- if not (lookup "storage.k8s.io/v1" "StorageClass" "" $class).allowVolumeExpansion -}}
    {{- include "maas.fail" (list
      (printf "The volume of %s has %s, but %s.size is %s." $.volume.of $size $path $.volume.storage.size)
      (printf "Its StorageClass %s cannot enlarge volumes. Set:" ($class | default "(none)"))
      ""
      (printf "    %s.size: %s" $path $size)
      ""
      "or move the data to a new volume; see docs/runbooks/KubePersistentVolumeFillingUp.md."
    ) -}}
    {{- end -}}
    {{- $size := include "maas.quantity" $.volume.storage.size -}}
    {{- $patch := printf "{\"spec\": {\"resources\": {\"requests\": {\"storage\": \"%s\"}}}}" $size -}}
    {{- $patches = append $patches (printf "    kubectl -n %s patch persistentvolumeclaim %s --patch '%s'" $namespace $name $patch) -}}
  {{- else if and (lt $wanted $bytes) (or $.volume.claim (and $template (not $.volume.operator) (ne $wanted (include "maas.storage.templateBytes" $template | int64)))) -}}
    {{- include "maas.fail" (list
      (printf "The volume of %s has %s, but %s.size is %s." $.volume.of $size $path $.volume.storage.size)
      "A volume cannot shrink. Set:"
      ""
      (printf "    %s.size: %s" $path $size)
    ) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- $commands := ternary list $patches (empty .statefulSet) -}}
{{- if and $template (not .operator) (ne $wanted (include "maas.storage.templateBytes" $template | int64)) -}}
  {{- $current = $current | default (dig "spec" "resources" "requests" "storage" "" $template) -}}
  {{- $commands = append $commands (printf "    kubectl -n %s delete statefulset %s --cascade=orphan" $namespace .statefulSet) -}}
{{- end -}}
{{- if $commands -}}
{{- include "maas.fail" (list
  (printf "The volume of %s has %s, but %s.size is %s." .of $current $path .storage.size)
  "Helm cannot enlarge the volumes of a StatefulSet. Run this, then the same command again; pods continue to run:"
  ""
  (join "\n" $commands)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The size in a template of a StatefulSet's claims, in bytes. Takes the template. */ -}}
{{- define "maas.storage.templateBytes" -}}
{{- include "maas.bytes" (dig "spec" "resources" "requests" "storage" "0" .) -}}
{{- end -}}
