{{- /*
Fails for a namespace that exists and does not belong to this release.
Takes (dict "context" $ "component" an entry of "maas.namespaces").
*/ -}}
{{- define "maas.namespace.validateOwner" -}}
{{- $namespace := .component.namespace -}}
{{- $current := lookup "v1" "Namespace" "" $namespace -}}
{{- if and $current (not (include "maas.ownedByRelease" (dict "context" .context "object" $current))) -}}
{{- $release := .context.Release -}}
{{- with get (dig "metadata" "annotations" dict $current) "meta.helm.sh/release-name" -}}
  {{- include "maas.fail" (list
    (printf "The namespace %s belongs to the release %s." $namespace .)
    "A second release needs its own namespaces. Set:"
    ""
    (printf "    %s%s:" (include "maas.value.prefix" $.context) $.component.name)
    (printf "      namespaceOverride: %s-%s" $release.Name $namespace)
  ) -}}
{{- end -}}
{{- include "maas.fail" (list
  (printf "The namespace %s exists and does not belong to the release %s in namespace %s." $namespace $release.Name $release.Namespace)
  "Create the namespaces of all components yourself and set:"
  ""
  (printf "    %snamespaces:" (include "maas.value.prefix" .context))
  "      create: false"
  ""
  "or let the release adopt this one:"
  ""
  (printf "    kubectl label namespace %s app.kubernetes.io/managed-by=Helm" $namespace)
  (printf "    kubectl annotate namespace %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s" $namespace $release.Name $release.Namespace)
) -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for a namespace of the user's that enforces a stricter Pod Security level than its component allows.
Takes (dict "context" $ "component" an entry of "maas.namespaces").
*/ -}}
{{- define "maas.namespace.validatePodSecurity" -}}
{{- $levels := dict "privileged" 0 "baseline" 1 "restricted" 2 -}}
{{- $label := "pod-security.kubernetes.io/enforce" -}}
{{- $current := lookup "v1" "Namespace" "" .component.namespace -}}
{{- $enforced := get (dig "metadata" "labels" dict $current) $label | default "privileged" -}}
{{- if gt (get $levels $enforced) (get $levels .component.podSecurity) -}}
{{- include "maas.fail" (list
  (printf "The namespace %s enforces the Pod Security level %s, but %s needs %s." .component.namespace $enforced .component.name .component.podSecurity)
  "Use a different namespace:"
  ""
  (printf "    %s%s:" (include "maas.value.prefix" .context) .component.name)
  "      namespaceOverride: NAMESPACE"
  ""
  "or lower the level of this one:"
  ""
  (printf "    kubectl label namespace %s %s=%s --overwrite" .component.namespace $label .component.podSecurity)
) -}}
{{- end -}}
{{- end -}}

{{- /*
Fails for components in one namespace that need different Pod Security levels: the level is a property of the namespace.
*/ -}}
{{- define "maas.namespaces.validate" -}}
{{- $seen := dict -}}
{{- range include "maas.namespaces" . | fromYamlArray -}}
{{- if .enabled -}}
  {{- $other := get $seen .namespace -}}
  {{- if and $other (ne $other.podSecurity .podSecurity) -}}
  {{- include "maas.fail" (list
    (printf "%s and %s share the namespace %s, but need different Pod Security levels (%s and %s)." $other.name .name .namespace $other.podSecurity .podSecurity)
    "Set one of:"
    ""
    (printf "    %s%s:" (include "maas.value.prefix" $) $other.name)
    "      namespaceOverride: NAMESPACE"
    (printf "    %s%s:" (include "maas.value.prefix" $) .name)
    "      namespaceOverride: NAMESPACE"
  ) -}}
  {{- end -}}
  {{- $_ := set $seen .namespace . -}}
  {{- if not $.Values.namespaces.create -}}
  {{- include "maas.namespace.validatePodSecurity" (dict "context" $ "component" .) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a ScaledObject whose metrics no program would serve: the restaurant would never scale. */ -}}
{{- define "maas.saturation.validate" -}}
{{- with .Values.restaurant -}}
{{- if and .enabled .autoscaling.enabled .autoscaling.saturation.enabled (include "maas.cluster.reachable" $) -}}
{{- $monitoring := index $.Values "kube-prometheus" -}}
{{- $other := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io" -}}
{{- if not (or (and $monitoring.enabled $monitoring.keda.enabled) $other) -}}
{{- include "maas.fail" (list
  "The restaurant is configured to scale on its saturation, but the cluster does not serve external metrics."
  "Set:"
  ""
  (printf "    %skube-prometheus.keda.enabled: true" (include "maas.value.prefix" $))
  ""
  "or scale on CPU only:"
  ""
  (printf "    %srestaurant.autoscaling.saturation.enabled: false" (include "maas.value.prefix" $))
) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* Fails for a team in the namespace of another chart's components: it would not be limited to its own. */ -}}
{{- define "maas.teams.validate" -}}
{{- /* Helm leaves out the defaults of a chart that is not installed. */ -}}
{{- $teams := dig "teams" "namespaces" dict (index .Values "kube-prometheus") -}}
{{- range include "maas.namespaces" . | fromYamlArray -}}
{{- if and .enabled (hasKey $teams .namespace) -}}
{{- include "maas.fail" (list
  (printf "%skube-prometheus.teams.namespaces.%s: the namespace %s belongs to the platform (%s)." (include "maas.value.prefix" $) .namespace .namespace .name)
  "Give the team another namespace."
) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* All checks of the umbrella; each subchart has its own. */ -}}
{{- define "maas.validate" -}}
{{- include "maas.saturation.validate" . -}}
{{- include "maas.namespaces.validate" . -}}
{{- include "maas.teams.validate" . -}}
{{- end -}}
