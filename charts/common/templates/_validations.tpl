{{- /* Stops the rendering with a message. Takes the message as a list of lines. */ -}}
{{- define "maas.fail" -}}
{{- fail (printf "\n\n%s\n" (join "\n" .)) -}}
{{- end -}}

{{- /*
"true" when the rendering can read the cluster. `helm template` and GitOps controllers cannot: there, `lookup` finds
nothing.
*/ -}}
{{- define "maas.cluster.reachable" -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
true
{{- end -}}
{{- end -}}

{{- /* "true" when an object of the cluster belongs to this release. Takes (dict "context" $ "object" the object). */ -}}
{{- define "maas.ownedByRelease" -}}
{{- $annotations := dig "metadata" "annotations" dict .object -}}
{{- $isName := eq (get $annotations "meta.helm.sh/release-name") .context.Release.Name -}}
{{- $isNamespace := eq (get $annotations "meta.helm.sh/release-namespace") .context.Release.Namespace -}}
{{- if and $isName $isNamespace -}}
true
{{- end -}}
{{- end -}}

{{- /* The Service behind an APIService, as NAMESPACE/NAME. Takes the APIService. */ -}}
{{- define "maas.apiService.backend" -}}
{{- dig "spec" "service" "namespace" "?" . }}/{{ dig "spec" "service" "name" "?" . }}
{{- end -}}
