{{- /* What the schema cannot tell. Each refusal names the value and what to do. */ -}}

{{- /*
A Secret that the user says exists. Where the cluster can be asked, it is: Alertmanager's pod would wait for it for ever.
Takes (dict "context" $ "secret" its name "key" in it "path" of the value "what" it is for) and optionally "namespace".
*/ -}}
{{- define "kube-prometheus.validateSecret" -}}
{{- $path := include "maas.valuePath" (dict "context" .context "path" .path) -}}
{{- $namespace := .namespace | default (include "maas.namespace" .context) -}}
{{- $make := printf "    kubectl -n %s create secret generic %s --from-file=%s=FILE\n" $namespace (.secret | default "NAME") .key -}}
{{- if not .secret -}}
{{- fail (printf "\n\n%s has no Secret, and what it needs is not for values.\nMake one and name it in %s:\n\n%s" .what $path $make) -}}
{{- end -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
  {{- $current := lookup "v1" "Secret" $namespace .secret -}}
  {{- if not $current -}}
  {{- if not (lookup "v1" "Namespace" "" $namespace) -}}
  {{- fail (printf "\n\n%s reads the Secret %s of the namespace %s, which the first installation makes (%s).\nInstall without it, make the Secret, and upgrade with it:\n\n%s" .what .secret $namespace $path $make) -}}
  {{- end -}}
  {{- fail (printf "\n\n%s reads the Secret %s, and %s has none of that name (%s).\nMake it first:\n\n%s" .what .secret $namespace $path $make) -}}
  {{- end -}}
  {{- if not (hasKey ($current.data | default dict) .key) -}}
  {{- fail (printf "\n\n%s reads the key %s of the Secret %s, which has %s (%s).\n" .what .key .secret (keys ($current.data | default dict) | sortAlpha | join ", " | default "none") $path) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /*
An operator looks after the objects of every namespace, so two would undo each other's work; and one that meets kinds
older than itself would lose fields without a word.
*/ -}}
{{- define "kube-prometheus.validateOperator" -}}
{{- $root := . -}}
{{- $path := include "maas.valuePath" (dict "context" . "path" "prometheusOperator.enabled") -}}
{{- range (lookup "apps/v1" "Deployment" "" "").items -}}
  {{- if and (hasSuffix "prometheus-operator" (get (.metadata.labels | default dict) "app.kubernetes.io/name")) (not (include "maas.ownedByRelease" (dict "context" $root "object" .))) -}}
  {{- fail (printf "\n\nThe cluster has a prometheus-operator already, %s/%s, which looks after every namespace.\nKeep it and set:\n\n    %s: false\n\nIt then runs this chart's Prometheus too.\n" .metadata.namespace .metadata.name $path) -}}
  {{- end -}}
{{- end -}}
{{- $own := trimPrefix "v" .Values.prometheusOperator.image.tag -}}
{{- $kind := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "prometheuses.monitoring.coreos.com" -}}
{{- $version := get (dig "metadata" "annotations" dict $kind) "operator.prometheus.io/version" -}}
{{- if and $version (semverCompare (printf ">%s" $version) $own) -}}
  {{- $owner := dig "metadata" "managedFields" list $kind | first | default dict -}}
  {{- fail (printf "\n\nThe cluster's monitoring kinds are of version %s, put there by %s; the operator of this chart is %s and would lose fields.\nHelm never changes kinds that are there. Bring the newer ones first:\n\n    helm show crds CHART | kubectl apply --server-side --force-conflicts -f -\n\nor leave them to their owner and set:\n\n    %s: false\n" $version ($owner.manager | default "somebody") $own $path) -}}
{{- end -}}
{{- end -}}

{{- /*
External metrics have one owner per cluster. And who takes KEDA away has to take away what only KEDA can finish first: it
holds each ScaledObject until it has cleaned up behind it.
*/ -}}
{{- define "kube-prometheus.validateKeda" -}}
{{- $path := include "maas.valuePath" (dict "context" . "path" "keda.enabled") -}}
{{- if .Values.keda.enabled -}}
  {{- $current := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io" -}}
  {{- if and $current (not (include "maas.ownedByRelease" (dict "context" . "object" $current))) -}}
  {{- $service := printf "%s/%s" (dig "spec" "service" "namespace" "?" $current) (dig "spec" "service" "name" "?" $current) -}}
  {{- fail (printf "\n\nExternal metrics are served by %s already, and %s is true.\nKeep that one and set:\n\n    %s: false\n\nWhere it is KEDA too, it serves the ScaledObjects of every namespace, and so the restaurant's.\n" $service $path $path) -}}
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
  {{- fail (printf "\n\n%s is false, and KEDA still has autoscalers to clean up behind; without it their ScaledObjects could never be deleted.\nTake them away first (the restaurant's by restaurant.autoscaling.saturation.enabled: false in an upgrade of its own):\n\n%s\n\nor set:\n\n    %s: true\n" $path (join "\n" $held) $path) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "kube-prometheus.validate" -}}
{{- $root := . -}}
{{- include "kube-prometheus.validateKeda" . -}}
{{- if .Values.prometheusOperator.enabled -}}
{{- include "kube-prometheus.validateOperator" . -}}
{{- end -}}
{{- with .Values.alertmanager -}}
{{- if .enabled -}}
  {{- if and .existingSecret (or .receivers .deadMansSwitch.existingSecret) -}}
  {{- fail (printf "\n\nalertmanager.existingSecret is the whole configuration, so receivers and deadMansSwitch say nothing beside it.\nKeep one of them:\n\n    %s: \"\"\n    %s: []\n" (include "maas.valuePath" (dict "context" $root "path" "alertmanager.existingSecret")) (include "maas.valuePath" (dict "context" $root "path" "alertmanager.receivers"))) -}}
  {{- end -}}
  {{- $types := include "kube-prometheus.receiverTypes" . | fromYaml -}}
  {{- $seen := list "nobody" "dead-mans-switch" -}}
  {{- range $index, $receiver := .receivers -}}
    {{- $path := printf "alertmanager.receivers[%d].existingSecret" $index -}}
    {{- $key := .key | default (get $types .type).key -}}
    {{- include "kube-prometheus.validateSecret" (dict "context" $root "secret" (.existingSecret | default "") "key" $key "path" $path "what" (printf "The receiver %s" .name)) -}}
    {{- if has .name $seen -}}
    {{- fail (printf "\n\nTwo receivers are named %s (%s).\n" .name (include "maas.valuePath" (dict "context" $root "path" "alertmanager.receivers"))) -}}
    {{- end -}}
    {{- $seen = append $seen .name -}}
  {{- end -}}
  {{- with .deadMansSwitch.existingSecret -}}
    {{- include "kube-prometheus.validateSecret" (dict "context" $root "secret" . "key" $root.Values.alertmanager.deadMansSwitch.key "path" "alertmanager.deadMansSwitch.existingSecret" "what" "The dead man's switch") -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.grafana -}}
{{- if and .enabled .oidc.enabled -}}
  {{- range $key := list "clientId" "existingSecret" "authUrl" "tokenUrl" -}}
    {{- if not (get $root.Values.grafana.oidc $key) -}}
    {{- fail (printf "\n\nLogging in to Grafana through a provider needs %s.\n" (include "maas.valuePath" (dict "context" $root "path" (printf "grafana.oidc.%s" $key)))) -}}
    {{- end -}}
  {{- end -}}
  {{- if not (or .externalUrl .ingress.hosts) -}}
  {{- fail (printf "\n\nThe provider sends people back to Grafana, which needs to know where they reach it.\nSet:\n\n    %s: https://grafana.example.org/\n" (include "maas.valuePath" (dict "context" $root "path" "grafana.externalUrl"))) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- $titles := dict "prometheus" "Prometheus" "alertmanager" "Alertmanager" "nodeExporter" "node-exporter" "kubeStateMetrics" "kube-state-metrics" -}}
{{- range $name, $title := $titles -}}
  {{- $component := get $root.Values $name -}}
  {{- $namespace := ternary (include "kube-prometheus.nodeExporterNamespace" $root) (include "maas.namespace" $root) (eq $name "nodeExporter") -}}
  {{- if and $component.enabled $component.tls.existingSecret -}}
    {{- range $key := list "tls.crt" "tls.key" "ca.crt" -}}
    {{- include "kube-prometheus.validateSecret" (dict "context" $root "secret" $component.tls.existingSecret "key" $key "path" (printf "%s.tls.existingSecret" $name) "what" $title "namespace" $namespace) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- range $name := list "prometheus" "alertmanager" "grafana" -}}
  {{- $component := get $root.Values $name -}}
  {{- if and $component.enabled $component.ingress.enabled (not $component.ingress.hosts) -}}
  {{- fail (printf "\n\nAn Ingress needs a host name.\nSet:\n\n    %s: [%s.example.org]\n" (include "maas.valuePath" (dict "context" $root "path" (printf "%s.ingress.hosts" $name))) $name) -}}
  {{- end -}}
  {{- if and $component.enabled $component.httpRoute.enabled (not $component.httpRoute.parentRefs) -}}
  {{- fail (printf "\n\nAn HTTPRoute needs a Gateway to attach to.\nSet:\n\n    %s: [{name: GATEWAY, namespace: NAMESPACE}]\n" (include "maas.valuePath" (dict "context" $root "path" (printf "%s.httpRoute.parentRefs" $name)))) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
