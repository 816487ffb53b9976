{{- /* Fails for values that contradict each other. Each message shows the calculation and the values to set. */ -}}
{{- define "restaurant.validate" -}}
{{- include "restaurant.validateAutoscaling" . -}}
{{- include "restaurant.validateDatabase" . -}}
{{- include "restaurant.validateSettings" . -}}
{{- include "restaurant.validateMessages" . -}}
{{- include "restaurant.validateStorage" . -}}
{{- include "restaurant.validatePayments" . -}}
{{- include "maas.exposure.validate" (dict "context" . "values" .Values) -}}
{{- end -}}

{{- define "restaurant.validateMessages" -}}
{{- with .Values.messages.email -}}
{{- if and .url (not .sender) -}}
{{- include "maas.fail" (list
  "Email to guests needs a sender. Set:"
  ""
  (printf "    %smessages.email.sender: Chez Ana <table@example.org>" (include "maas.value.prefix" $))
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.validatePayments" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- range $name := list "terminal" "online" -}}
{{- with index $.Values.payments $name -}}
{{- if and .url (not .existingSecret) -}}
{{- include "maas.fail" (list
  (printf "The payment provider %spayments.%s has no secret." $prefix $name)
  "Create a Secret, and set:"
  ""
  (printf "    %spayments.%s.existingSecret: SECRET" $prefix $name)
) -}}
{{- end -}}
{{- if and .url (eq (.provider | default "http") "stripe") (not $.Values.messages.publicUrl) -}}
{{- include "maas.fail" (list
  "Stripe needs the address of the pages that guests return to. Set:"
  ""
  (printf "    %smessages.publicUrl: https://restaurant.example.org" $prefix)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.settings -}}
{{- if and (or .depositPerCover .depositFixed) (not $.Values.payments.online.url) -}}
{{- include "maas.fail" (list
  "Guests pay the deposits of their bookings online, and no provider of online payments is set. Set:"
  ""
  (printf "    %spayments.online.url: https://pay.example.org" $prefix)
  (printf "    %spayments.online.existingSecret: SECRET" $prefix)
  ""
  "or ask for no deposits:"
  ""
  (printf "    %ssettings.depositPerCover: 0" $prefix)
  (printf "    %ssettings.depositFixed: 0" $prefix)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.validateAutoscaling" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- include "maas.fail" (list
  (printf "%[1]sautoscaling.minReplicas (%[2]d) is greater than %[1]sautoscaling.maxReplicas (%[3]d)." $prefix (int .minReplicas) (int .maxReplicas))
) -}}
{{- end -}}
{{- $hasCRD := $.Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" -}}
{{- if and .enabled .saturation.enabled (include "maas.cluster.reachable" $) (or $.Release.IsUpgrade $.Chart.IsRoot) (not $hasCRD) -}}
{{- include "maas.fail" (list
  "Scaling on saturation needs KEDA, and the cluster has no CRD for ScaledObject."
  "Helm installs CRDs only with the first installation of a release. Apply them, and enable KEDA:"
  ""
  "    helm show crds CHART | kubectl apply --server-side --force-conflicts -f -"
  ""
  (printf "    %skube-prometheus.keda.enabled: true" (trimSuffix "restaurant." $prefix))
  ""
  "or scale on CPU only:"
  ""
  (printf "    %sautoscaling.saturation.enabled: false" $prefix)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.validateDatabase" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- $pods := include "restaurant.maxPods" . | int -}}
{{- $autoscaling := .Values.autoscaling.enabled -}}
{{- $surge := include "restaurant.surge" . | int -}}
{{- $namespace := include "maas.namespace" . -}}
{{- with .Values.database -}}
{{- if and (eq .type "sqlite") (or (gt $pods 1) $autoscaling) -}}
{{- include "maas.fail" (list
  (printf "SQLite supports a single pod, but up to %d are configured." $pods)
  "Set:"
  ""
  (printf "    %sautoscaling.enabled: false" $prefix)
  (printf "    %sreplicas: 1" $prefix)
  ""
  "or keep the pods and use PostgreSQL:"
  ""
  (printf "    %sdatabase.type: postgresql" $prefix)
) -}}
{{- end -}}
{{- if ne .type "sqlite" -}}
{{- $needed := add (mul (add $pods $surge) .poolSize) .reservedConnections | int -}}
{{- $limit := ternary .postgresql.maxConnections .external.maxConnections (eq .type "postgresql") | int -}}
{{- if and $limit (gt $needed $limit) -}}
{{- $lines := list
  "The pods could open more connections than the database accepts:"
  ""
  (printf "    (%d pods + %d during an update) x %d connections + %d reserved = %d, more than the limit of %d" $pods $surge (int .poolSize) (int .reservedConnections) $needed $limit)
  ""
  "Raise the limit:"
  ""
  (printf "    %sdatabase.%s.maxConnections: %d" $prefix .type $needed)
  ""
-}}
{{- $fewer := div (sub $limit .reservedConnections) (add $pods $surge) | int -}}
{{- if gt $fewer 0 -}}
{{- $lines = concat $lines (list "or use fewer connections per pod:" "" (printf "    %sdatabase.poolSize: %d" $prefix $fewer)) -}}
{{- else -}}
{{- $lines = append $lines "or reduce the number of pods." -}}
{{- end -}}
{{- include "maas.fail" $lines -}}
{{- end -}}
{{- end -}}
{{- if and (ne .type "postgresql") (gt (int .postgresql.replicas) 1) -}}
{{- include "maas.fail" (list
  (printf "Only the PostgreSQL server of this release can have replicas: %sdatabase.type is %s." $prefix .type)
  "Set:"
  ""
  (printf "    %sdatabase.type: postgresql" $prefix)
  ""
  "or:"
  ""
  (printf "    %sdatabase.postgresql.replicas: 1" $prefix)
) -}}
{{- end -}}
{{- $set := lookup "apps/v1" "StatefulSet" $namespace (include "restaurant.databaseName" $) -}}
{{- $running := dig "spec" "replicas" 1 ($set | default dict) | int -}}
{{- if and (eq .type "postgresql") (lt (int .postgresql.replicas) $running) -}}
{{- include "maas.fail" (list
  (printf "The database has %d servers, and %sdatabase.postgresql.replicas is %d. It can be raised, but not lowered:" $running $prefix (int .postgresql.replicas))
  "the server that would remain may not have the latest orders. Set:"
  ""
  (printf "    %sdatabase.postgresql.replicas: %d" $prefix $running)
) -}}
{{- end -}}
{{- if and (eq .type "external") (not .external.host) -}}
{{- include "maas.fail" (list
  "An external database needs a host."
  "Set:"
  ""
  (printf "    %sdatabase.external.host: db.example.org" $prefix)
) -}}
{{- end -}}
{{- if and (eq .type "external") (not .existingSecret) -}}
{{- include "maas.fail" (list
  "An external database needs a Secret with the user's password."
  (printf "Create one in the namespace %s and set:" $namespace)
  ""
  (printf "    %sdatabase.existingSecret: NAME" $prefix)
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.validateSettings" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.settings -}}
{{- if ge (int .maxStreams) (int .threads) -}}
{{- include "maas.fail" (list
  "Kitchen screens could occupy all threads of a pod, and no thread would be left for other requests:"
  ""
  (printf "    %d streams >= %d threads" (int .maxStreams) (int .threads))
  ""
  "Reduce the number of streams:"
  ""
  (printf "    %ssettings.maxStreams: %d" $prefix (div (int .threads) 2))
  ""
  "or increase the number of threads:"
  ""
  (printf "    %ssettings.threads: %d" $prefix (mul (int .maxStreams) 2))
) -}}
{{- end -}}
{{- if ge (int .kitchenWarningMinutes) (int .kitchenLateMinutes) -}}
{{- include "maas.fail" (list
  (printf "The late threshold of the kitchen (%d minutes) must be greater than its warning threshold (%d minutes)." (int .kitchenLateMinutes) (int .kitchenWarningMinutes))
  "Set:"
  ""
  (printf "    %ssettings.kitchenLateMinutes: %d" $prefix (min 240 (mul (int .kitchenWarningMinutes) 2)))
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.validateStorage" -}}
{{- $volumes := list -}}
{{- $path := printf "database.%s.storage" .Values.database.type -}}
{{- with .Values.database -}}
{{- if eq .type "postgresql" -}}
{{- $set := include "restaurant.databaseName" $ -}}
{{- $names := list -}}
{{- range until (int .postgresql.replicas) -}}{{- $names = append $names (printf "data-%s-%d" $set .) -}}{{- end -}}
{{- $claims := dict "statefulSet" $set "claims" $names -}}
{{- $volumes = append $volumes (merge $claims (dict "storage" .postgresql.storage "path" $path "of" "the database")) -}}
{{- else if eq .type "sqlite" -}}
{{- $claim := printf "%s-data" (include "restaurant.fullname" $) -}}
{{- $volumes = append $volumes (dict "claim" $claim "storage" .sqlite.storage "path" $path "of" "the database") -}}
{{- end -}}
{{- end -}}
{{- include "maas.storage.validate" (dict "context" . "volumes" $volumes) -}}
{{- end -}}
