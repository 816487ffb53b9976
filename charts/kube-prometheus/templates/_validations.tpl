{{- /* Fails for what the schema cannot check. Each message names the value to set. */ -}}
{{- define "kube-prometheus.validate" -}}
{{- include "kube-prometheus.validateKeda" . -}}
{{- include "kube-prometheus.validateOperator" . -}}
{{- include "kube-prometheus.validateReceivers" . -}}
{{- include "kube-prometheus.validateLogin" . -}}
{{- include "kube-prometheus.validateCertificates" . -}}
{{- include "kube-prometheus.validateStorage" . -}}
{{- range $name := list "prometheus" "alertmanager" "grafana" -}}
{{- with get $.Values $name -}}
{{- if .enabled -}}
{{- include "maas.exposure.validate" (dict "context" $ "values" . "path" (printf "%s." $name) "name" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a Secret that does not exist, or that lacks a key: the pod that mounts it would wait forever.
Takes (dict "context" $ "secret" its name "key" the key "path" path of the value "what" what needs it), and optionally
"namespace".
*/ -}}
{{- define "kube-prometheus.validateSecret" -}}
{{- $path := include "maas.value.path" (dict "context" .context "path" .path) -}}
{{- $namespace := .namespace | default (include "maas.namespace" .context) -}}
{{- $name := .secret | default "NAME" -}}
{{- $create := printf "    kubectl -n %s create secret generic %s --from-file=%s=FILE" $namespace $name .key -}}
{{- if not .secret -}}
{{- include "maas.fail" (list
  (printf "%s needs a Secret, because its credentials do not belong in values." .what)
  (printf "Create one and set %s to its name:" $path)
  ""
  $create
) -}}
{{- end -}}
{{- if include "maas.cluster.reachable" . -}}
  {{- $current := lookup "v1" "Secret" $namespace .secret -}}
  {{- if and (not $current) (not (lookup "v1" "Namespace" "" $namespace)) -}}
  {{- include "maas.fail" (list
    (printf "%s needs the Secret %s in the namespace %s, which only the first installation creates (%s)." .what .secret $namespace $path)
    "Install without it, create the Secret, and upgrade with it:"
    ""
    $create
  ) -}}
  {{- end -}}
  {{- if not $current -}}
  {{- include "maas.fail" (list
    (printf "%s needs the Secret %s, which does not exist in the namespace %s (%s)." .what .secret $namespace $path)
    "Create it first:"
    ""
    $create
  ) -}}
  {{- end -}}
  {{- if not (hasKey ($current.data | default dict) .key) -}}
  {{- $keys := keys ($current.data | default dict) | sortAlpha | join ", " | default "none" -}}
  {{- include "maas.fail" (list
    (printf "%s needs the key %s in the Secret %s (%s)." .what .key .secret $path)
    (printf "The Secret has these keys: %s." $keys)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a second prometheus-operator: an operator reconciles the objects of every namespace, so the two would undo each
other's changes. Also fails for CRDs that are older than the operator: the API server would drop fields silently.
*/ -}}
{{- define "kube-prometheus.validateOperator" -}}
{{- $root := . -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "prometheusOperator.enabled") -}}
{{- if .Values.prometheusOperator.enabled -}}
{{- range (lookup "apps/v1" "Deployment" "" "").items -}}
  {{- $name := get (.metadata.labels | default dict) "app.kubernetes.io/name" -}}
  {{- if and (hasSuffix "prometheus-operator" $name) (not (include "maas.ownedByRelease" (dict "context" $root "object" .))) -}}
  {{- include "maas.fail" (list
    (printf "The cluster already has a prometheus-operator, %s/%s, which watches all namespaces." .metadata.namespace .metadata.name)
    "To keep it, set:"
    ""
    (printf "    %s: false" $path)
    ""
    "It then also manages the Prometheus of this chart."
  ) -}}
  {{- end -}}
{{- end -}}
{{- $own := trimPrefix "v" .Values.prometheusOperator.image.tag -}}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "prometheuses.monitoring.coreos.com" -}}
{{- $version := get (dig "metadata" "annotations" dict $crd) "operator.prometheus.io/version" -}}
{{- if and $version (semverCompare (printf ">%s" $version) $own) -}}
  {{- $owner := dig "metadata" "managedFields" list $crd | first | default dict -}}
  {{- include "maas.fail" (list
    (printf "The Prometheus Operator CRDs in this cluster are version %s (managed by %s)," $version ($owner.manager | default "an unknown client"))
    (printf "but this chart ships operator %s. Helm does not upgrade CRDs; apply the newer ones first:" $own)
    ""
    "    helm show crds CHART | kubectl apply --server-side --force-conflicts -f -"
    ""
    "or leave them to their owner and set:"
    ""
    (printf "    %s: false" $path)
  ) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a second provider of external metrics, because a cluster can have only one. Also fails when KEDA would be removed
before its ScaledObjects: only KEDA removes their finalizer, so they could never be deleted.
*/ -}}
{{- define "kube-prometheus.validateKeda" -}}
{{- $path := include "maas.value.path" (dict "context" . "path" "keda.enabled") -}}
{{- if .Values.keda.enabled -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io" -}}
  {{- if and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- include "maas.fail" (list
    (printf "%s already serves the external metrics API, but %s is true." (include "maas.apiService.backend" $current) $path)
    "A cluster can have only one provider. To keep it, set:"
    ""
    (printf "    %s: false" $path)
    ""
    "If it is KEDA, it also serves the ScaledObjects of this release."
  ) -}}
  {{- end -}}
{{- else if .Capabilities.APIVersions.Has "keda.sh/v1alpha1/ScaledObject" -}}
  {{- $own := lookup "apps/v1" "Deployment" (include "maas.namespace" .) "keda-operator" -}}
  {{- $held := list -}}
  {{- if and $own (include "maas.ownedByRelease" (dict "context" . "object" $own)) -}}
  {{- range (lookup "keda.sh/v1alpha1" "ScaledObject" "" "").items -}}
    {{- $held = append $held (printf "    kubectl -n %s delete scaledobject %s" .metadata.namespace .metadata.name) -}}
  {{- end -}}
  {{- end -}}
  {{- if $held -}}
  {{- include "maas.fail" (list
    (printf "%s is false, but the cluster still has ScaledObjects." $path)
    "Only KEDA removes their finalizer, so without it they could never be deleted. Delete them first"
    "(the restaurant's with an upgrade that sets restaurant.autoscaling.saturation.enabled: false):"
    ""
    (join "\n" $held)
    ""
    "or set:"
    ""
    (printf "    %s: true" $path)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateReceivers" -}}
{{- $root := . -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.alertmanager -}}
{{- if .enabled -}}
  {{- if and .existingSecret (or .receivers .deadMansSwitch.existingSecret) -}}
  {{- include "maas.fail" (list
    (printf "%salertmanager.existingSecret is the whole configuration of Alertmanager," $prefix)
    "so receivers and deadMansSwitch have no effect beside it. Keep one of them:"
    ""
    (printf "    %salertmanager.existingSecret: \"\"" $prefix)
    (printf "    %salertmanager.receivers: []" $prefix)
  ) -}}
  {{- end -}}
  {{- $types := include "kube-prometheus.receiverTypes" . | fromYaml -}}
  {{- $seen := list "nobody" "dead-mans-switch" -}}
  {{- range $index, $receiver := .receivers -}}
    {{- $secret := dict "context" $root "secret" (.existingSecret | default "") "key" (.key | default (get $types .type).key) -}}
    {{- $_ := set $secret "path" (printf "alertmanager.receivers[%d].existingSecret" $index) -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "what" (printf "The receiver %s" .name)) -}}
    {{- if has .name $seen -}}
    {{- include "maas.fail" (list
      (printf "The name of the receiver %s is already used (%salertmanager.receivers)." .name $prefix)
      "Give it another name."
    ) -}}
    {{- end -}}
    {{- $seen = append $seen .name -}}
  {{- end -}}
  {{- with .deadMansSwitch -}}
  {{- if .existingSecret -}}
    {{- $secret := dict "context" $root "secret" .existingSecret "key" .key "what" "The dead man's switch" -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "path" "alertmanager.deadMansSwitch.existingSecret") -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateLogin" -}}
{{- $prefix := include "maas.value.prefix" . -}}
{{- with .Values.grafana -}}
{{- if and .enabled .oidc.enabled -}}
  {{- range $key := list "clientId" "existingSecret" "authUrl" "tokenUrl" -}}
    {{- if not (get $.Values.grafana.oidc $key) -}}
    {{- include "maas.fail" (list
      (printf "Grafana's login with OpenID Connect needs %sgrafana.oidc.%s." $prefix $key)
      "Set it, or disable the login:"
      ""
      (printf "    %sgrafana.oidc.enabled: false" $prefix)
    ) -}}
    {{- end -}}
  {{- end -}}
  {{- if not (or .externalUrl .ingress.hosts) -}}
  {{- include "maas.fail" (list
    "The identity provider redirects users back to Grafana, whose URL is unknown."
    "Set:"
    ""
    (printf "    %sgrafana.externalUrl: https://grafana.example.org/" $prefix)
  ) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateCertificates" -}}
{{- $titles := dict "prometheus" "Prometheus" "alertmanager" "Alertmanager" "nodeExporter" "node-exporter" "kubeStateMetrics" "kube-state-metrics" -}}
{{- range $name, $title := $titles -}}
  {{- $component := get $.Values $name -}}
  {{- $namespace := ternary (include "kube-prometheus.nodeExporterNamespace" $) (include "maas.namespace" $) (eq $name "nodeExporter") -}}
  {{- if and $component.enabled $component.tls.existingSecret -}}
    {{- range $key := list "tls.crt" "tls.key" "ca.crt" -}}
    {{- $secret := dict "context" $ "secret" $component.tls.existingSecret "key" $key "namespace" $namespace "what" $title -}}
    {{- include "kube-prometheus.validateSecret" (set $secret "path" (printf "%s.tls.existingSecret" $name)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validateStorage" -}}
{{- $volumes := list -}}
{{- range $name := list "prometheus" "alertmanager" -}}
  {{- with get $.Values $name -}}
  {{- if and .enabled .storage.enabled -}}
  {{- $volume := dict "className" .storage.className "path" (printf "%s.storage.className" $name) "of" $name -}}
  {{- $volumes = append $volumes (set $volume "statefulSet" (printf "%s-%s" $name (include "kube-prometheus.name" $))) -}}
  {{- end -}}
  {{- end -}}
{{- end -}}
{{- with .Values.grafana -}}
{{- if and .enabled .storage.enabled -}}
{{- $volume := dict "className" .storage.className "path" "grafana.storage.className" "of" "grafana" "claim" "grafana" -}}
{{- $volumes = append $volumes $volume -}}
{{- end -}}
{{- end -}}
{{- include "maas.storage.validate" (dict "context" . "volumes" $volumes) -}}
{{- end -}}
