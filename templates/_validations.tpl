{{- /*
A namespace that is there and not this release's is left alone, and one of another release all the more.
Takes (dict "context" $ "component" {name, namespace}).
*/ -}}
{{- define "maas.validateNamespace" -}}
{{- $namespace := .component.namespace -}}
{{- $current := lookup "v1" "Namespace" "" $namespace -}}
{{- if and $current (not (include "maas.ownedByRelease" (dict "context" .context "object" $current))) -}}
{{- $release := .context.Release -}}
{{- $owner := get (dig "metadata" "annotations" dict $current) "meta.helm.sh/release-name" -}}
{{- if $owner -}}
{{- fail (printf "\n\nThe namespace %s belongs to the release %s.\nA second release needs a namespace of its own; set:\n\n    %s:\n      namespaceOverride: %s-%s\n" $namespace $owner .component.name $release.Name $namespace) -}}
{{- end -}}
{{- fail (printf "\n\nThe namespace %s exists and does not belong to the release %s in %s.\nMake the components' namespaces yourself and set:\n\n    namespaces:\n      create: false\n\nor let the release have this one:\n\n    kubectl label namespace %s app.kubernetes.io/managed-by=Helm\n    kubectl annotate namespace %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s\n" $namespace $release.Name $release.Namespace $namespace $namespace $release.Name $release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- /*
A namespace that somebody else made may enforce more than a component can keep.
Takes (dict "context" $ "component" {name, namespace, podSecurity}).
*/ -}}
{{- define "maas.validatePodSecurity" -}}
{{- $levels := dict "privileged" 0 "baseline" 1 "restricted" 2 -}}
{{- $current := lookup "v1" "Namespace" "" .component.namespace -}}
{{- $enforced := get (dig "metadata" "labels" dict $current) "pod-security.kubernetes.io/enforce" | default "privileged" -}}
{{- if gt (get $levels $enforced) (get $levels .component.podSecurity) -}}
{{- fail (printf "\n\nThe namespace %s enforces the Pod Security level %s, but %s needs %s.\nSet another one:\n\n    %s:\n      namespaceOverride: ...\n\nor let it:\n\n    kubectl label namespace %s pod-security.kubernetes.io/enforce=%s --overwrite\n" .component.namespace $enforced .component.name .component.podSecurity .component.name .component.namespace .component.podSecurity) -}}
{{- end -}}
{{- end -}}

{{- /* A ScaledObject that nobody serves would leave the restaurant at the pods it has. Only a cluster knows of another KEDA. */ -}}
{{- define "maas.validateSaturation" -}}
{{- with .Values.restaurant -}}
{{- if and .enabled .autoscaling.enabled .autoscaling.saturation.enabled (lookup "v1" "Namespace" "" "kube-system") -}}
{{- $monitoring := index $.Values "kube-prometheus" -}}
{{- if not (or (and $monitoring.enabled $monitoring.keda.enabled) (lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io")) -}}
{{- fail "\n\nThe restaurant is to scale by its saturation, and nobody serves external metrics.\nSet:\n\n    kube-prometheus.keda.enabled: true\n\nor scale by CPU alone:\n\n    restaurant.autoscaling.saturation.enabled: false\n" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* The components' namespaces do their work only apart from each other: Pod Security is per namespace. */ -}}
{{- define "maas.validate" -}}
{{- include "maas.validateSaturation" . -}}
{{- $seen := dict -}}
{{- range include "maas.components" . | fromYamlArray -}}
{{- if .enabled -}}
  {{- $other := get $seen .namespace -}}
  {{- if and $other (ne $other.podSecurity .podSecurity) -}}
  {{- fail (printf "\n\n%s and %s are both in the namespace %s, but need different Pod Security levels (%s and %s).\nSet one of:\n\n    %s:\n      namespaceOverride: ...\n    %s:\n      namespaceOverride: ...\n" $other.name .name .namespace $other.podSecurity .podSecurity $other.name .name) -}}
  {{- end -}}
  {{- $_ := set $seen .namespace . -}}
  {{- if not $.Values.namespaces.create -}}
  {{- include "maas.validatePodSecurity" (dict "context" $ "component" .) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
