{{- /* Arithmetic that cannot work is refused with the sum and the values in it. */ -}}
{{- define "restaurant.validate" -}}
{{- $root := . -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "\n\nautoscaling.minReplicas (%d) is more than autoscaling.maxReplicas (%d).\n" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}

{{- if and .Values.autoscaling.enabled .Values.autoscaling.saturation.enabled (lookup "v1" "Namespace" "" "kube-system") -}}
  {{- if and (or .Release.IsUpgrade .Chart.IsRoot) (not (.Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject")) -}}
  {{- fail (printf "\n\nThe cluster does not know KEDA's ScaledObject, by which the restaurant would scale by its saturation.\nHelm brings kinds at a first installation only. Bring them and set:\n\n    helm show crds CHART | kubectl apply --server-side --force-conflicts -f -\n\n    kube-prometheus.keda.enabled: true\n\nor scale by CPU alone:\n\n    %s: false\n" (include "maas.valuePath" (dict "context" $root "path" "autoscaling.saturation.enabled"))) -}}
  {{- end -}}
{{- end -}}

{{- $pods := include "restaurant.maxPods" . | int -}}
{{- $db := .Values.database -}}
{{- if eq $db.type "sqlite" -}}
  {{- if or (gt $pods 1) .Values.autoscaling.enabled -}}
  {{- fail (printf "\n\nSQLite is a file that one pod can have, and up to %d are asked for.\nSet:\n\n    %s: false\n    %s: 1\n\nor keep the pods and take PostgreSQL:\n\n    %s: postgresql\n" $pods (include "maas.valuePath" (dict "context" $root "path" "autoscaling.enabled")) (include "maas.valuePath" (dict "context" $root "path" "replicas")) (include "maas.valuePath" (dict "context" $root "path" "database.type"))) -}}
  {{- end -}}
{{- else -}}
  {{- $surge := include "restaurant.surge" . | int -}}
  {{- $needed := add (mul (add $pods $surge) $db.poolSize) $db.reservedConnections | int -}}
  {{- $limit := ternary $db.postgresql.maxConnections $db.external.maxConnections (eq $db.type "postgresql") | int -}}
  {{- if and $limit (gt $needed $limit) -}}
  {{- $where := printf "database.%s.maxConnections" $db.type -}}
  {{- $fewer := div (sub $limit $db.reservedConnections) (add $pods $surge) | int -}}
  {{- $hint := ternary (printf "\nor let each pod hold fewer:\n\n    %s: %d\n" (include "maas.valuePath" (dict "context" $root "path" "database.poolSize")) $fewer) "\nor lower the number of pods.\n" (gt $fewer 0) -}}
  {{- fail (printf "\n\nThe pods could open more connections than the database takes:\n\n    (%d pods + %d during an update) x %d connections + %d reserved = %d, over the limit of %d\n\nSet:\n\n    %s: %d\n%s" $pods $surge (int $db.poolSize) (int $db.reservedConnections) $needed $limit (include "maas.valuePath" (dict "context" $root "path" $where)) $needed $hint) -}}
  {{- end -}}
{{- end -}}

{{- with .Values.settings -}}
{{- if ge (int .maxStreams) (int .threads) -}}
{{- fail (printf "\n\nKitchen screens could use every thread of a pod and leave none for pages:\n\n    %d streams >= %d threads\n\nSet:\n\n    %s: %d\n\nor give the pods more threads:\n\n    %s: %d\n" (int .maxStreams) (int .threads) (include "maas.valuePath" (dict "context" $root "path" "settings.maxStreams")) (div (int .threads) 2) (include "maas.valuePath" (dict "context" $root "path" "settings.threads")) (mul (int .maxStreams) 2)) -}}
{{- end -}}
{{- if ge (int .kitchenWarningMinutes) (int .kitchenLateMinutes) -}}
{{- fail (printf "\n\nThe late threshold of the kitchen (%d minutes) must be greater than its warning threshold (%d minutes).\nSet:\n\n    %s: %d\n" (int .kitchenLateMinutes) (int .kitchenWarningMinutes) (include "maas.valuePath" (dict "context" $root "path" "settings.kitchenLateMinutes")) (min 240 (mul (int .kitchenWarningMinutes) 2))) -}}
{{- end -}}
{{- end -}}

{{- if eq $db.type "external" -}}
  {{- if not $db.external.host -}}
  {{- fail (printf "\n\nAn external database needs its address.\nSet:\n\n    %s: db.example.org\n" (include "maas.valuePath" (dict "context" $root "path" "database.external.host"))) -}}
  {{- end -}}
  {{- if not $db.existingSecret -}}
  {{- fail (printf "\n\nAn external database needs a Secret with its user's password.\nMake one in the namespace %s and set:\n\n    %s: NAME\n" (include "maas.namespace" $root) (include "maas.valuePath" (dict "context" $root "path" "database.existingSecret"))) -}}
  {{- end -}}
{{- end -}}

{{- $volumes := list -}}
{{- if eq $db.type "postgresql" -}}
{{- $volumes = append $volumes (dict "className" $db.postgresql.storage.className "path" "database.postgresql.storage.className" "of" "the database" "statefulSet" (include "restaurant.databaseName" .)) -}}
{{- else if eq $db.type "sqlite" -}}
{{- $volumes = append $volumes (dict "className" $db.sqlite.storage.className "path" "database.sqlite.storage.className" "of" "the database" "claim" (printf "%s-data" (include "restaurant.fullname" .))) -}}
{{- end -}}
{{- include "maas.validateStorageClasses" (dict "context" . "volumes" $volumes) -}}
{{- include "maas.validateExposure" (dict "context" . "values" .Values) -}}
{{- end -}}
