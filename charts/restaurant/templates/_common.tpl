{{- /*
What every chart of MaaS does in one way: namespace, labels, images, scheduling.

The same file lies in the umbrella and in each subchart, because a subchart must also install alone. The umbrella's is
the original; `maas generate` copies it and `maas lint` refuses a difference.
*/ -}}

{{- /* The namespace of this chart's objects. Helm has no namespace per subchart, so each takes one as a value. */ -}}
{{- define "maas.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- /* Labels that select a component's pods; they must never change. Takes (dict "context" $ "name" ...). */ -}}
{{- define "maas.selectorLabels" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{- end -}}

{{- /*
Labels of a pod template: the selector's, the user's, and what does not change from one chart version to the next, so
that an upgrade of the chart alone restarts nothing. Takes (dict "context" $ "name" ... "values" the component's).
*/ -}}
{{- define "maas.podLabels" -}}
{{- with (.values | default dict).podLabels }}
{{- toYaml (omit . "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/part-of") }}
{{ end }}
{{- include "maas.selectorLabels" . }}
app.kubernetes.io/part-of: maas
{{- end -}}

{{- /*
Annotations of a pod template, as a field of its metadata: the user's and the chart's own.
Takes (dict "values" the component's "annotations" (dict ...)).
*/ -}}
{{- define "maas.podAnnotations" -}}
{{- with merge dict (.annotations | default dict) .values.podAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- /* Labels of every other object. */ -}}
{{- define "maas.labels" -}}
{{ include "maas.podLabels" (omit . "values") }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- /*
An image reference. No tag means the chart's application version; a digest, where given, decides over the tag.
Takes (dict "context" $ "image" .Values.image).
*/ -}}
{{- define "maas.image" -}}
{{- $registry := .context.Values.global.imageRegistry | default .image.registry -}}
{{- $registry }}/{{ .image.repository }}
{{- with .image.tag | default .context.Chart.AppVersion }}:{{ . }}{{ end }}
{{- with .image.digest }}@{{ . }}{{ end }}
{{- end -}}

{{- /* The pull secrets of a pod, as a field of its spec. */ -}}
{{- define "maas.imagePullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /*
Where a component's pods may run, as fields of the pod's spec. A constraint without a labelSelector means the
component's own pods. Takes (dict "context" $ "name" ... "values" the component's).
*/ -}}
{{- define "maas.scheduling" -}}
{{- $fields := dict -}}
{{- range $key := list "priorityClassName" "nodeSelector" "affinity" "tolerations" -}}
{{- with get $.values $key -}}
{{- $_ := set $fields $key . -}}
{{- end -}}
{{- end -}}
{{- $own := dict "matchLabels" (include "maas.selectorLabels" . | fromYaml) -}}
{{- $constraints := list -}}
{{- range .values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (merge dict . (dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" "labelSelector" $own)) -}}
{{- end -}}
{{- with $constraints -}}
{{- $_ := set $fields "topologySpreadConstraints" . -}}
{{- end -}}
{{- if $fields -}}
{{- toYaml $fields -}}
{{- end -}}
{{- end -}}

{{- /*
A pod's security context: what the level `restricted` asks for, what the image needs beside it, and over both what the
user says. Takes (dict "values" the component's "defaults" (dict "runAsUser" ...)).
*/ -}}
{{- define "maas.podSecurityContext" -}}
{{- $restricted := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.defaults | default dict)) (deepCopy .values.podSecurityContext)) -}}
{{- end -}}

{{- /* A container's security context, in the same way. Takes (dict "values" ... "defaults" ...). */ -}}
{{- define "maas.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.defaults | default dict)) (deepCopy .values.securityContext)) -}}
{{- end -}}

{{- /*
Whether to make a ServiceMonitor: "true" or nothing; auto looks whether the cluster knows the kind.
Takes (dict "context" $ "serviceMonitor" ...).
*/ -}}
{{- define "maas.serviceMonitorWanted" -}}
{{- $enabled := .serviceMonitor.enabled | toString -}}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") (.context.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/ServiceMonitor")) -}}
true
{{- end -}}
{{- end -}}

{{- /*
The path of one of this chart's values as the person at the keyboard writes it: under the subchart's name when the
umbrella installs it, bare when it is installed alone. Takes (dict "context" $ "path" "ipPool.cidr").
*/ -}}
{{- define "maas.valuePath" -}}
{{- if not .context.Chart.IsRoot }}{{ .context.Chart.Name }}.{{ end }}{{ .path }}
{{- end -}}

{{- /* Whether an object read from the cluster belongs to this release. Takes (dict "context" $ "object" ...). */ -}}
{{- define "maas.ownedByRelease" -}}
{{- $annotations := dig "metadata" "annotations" dict .object -}}
{{- if and (eq (get $annotations "meta.helm.sh/release-name") .context.Release.Name) (eq (get $annotations "meta.helm.sh/release-namespace") .context.Release.Namespace) -}}
true
{{- end -}}
{{- end -}}

{{- /*
An Ingress to the port `http` of a Service. Takes (dict "context" $ "name" the component "objectName" the Service's name
"ingress" its values) and optionally "port", the name of another port.
*/ -}}
{{- define "maas.ingress" -}}
{{- if .ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .objectName }}
  namespace: {{ include "maas.namespace" .context }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
  {{- with .ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- if .ingress.tlsSecret }}
  tls:
    - secretName: {{ .ingress.tlsSecret }}
      hosts:
        {{- toYaml .ingress.hosts | nindent 8 }}
  {{- end }}
  rules:
    {{- range .ingress.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ $.objectName }}
                port:
                  name: {{ $.port | default "http" }}
    {{- end }}
{{- end -}}
{{- end -}}

{{- /*
An HTTPRoute to a Service. Takes (dict "context" $ "name" the component "objectName" the Service's name "httpRoute" its
values "port" the Service's port).
*/ -}}
{{- define "maas.httpRoute" -}}
{{- if .httpRoute.enabled -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ .objectName }}
  namespace: {{ include "maas.namespace" .context }}
  labels:
    {{- include "maas.labels" (dict "context" .context "name" .name) | nindent 4 }}
spec:
  parentRefs:
    {{- toYaml .httpRoute.parentRefs | nindent 4 }}
  {{- with .httpRoute.hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs:
        - name: {{ .objectName }}
          port: {{ .port }}
{{- end -}}
{{- end -}}

{{- /*
Refuses volumes that no StorageClass would make, where the cluster can be asked and they are not there yet.
Takes (dict "context" $ "volumes" a list), each volume (dict "className" ... "path" of that value "of" whose it is) and what
is there already if the volume is: "statefulSet" or "claim", by name.
*/ -}}
{{- define "maas.validateStorageClasses" -}}
{{- $namespace := include "maas.namespace" .context -}}
{{- $owners := list -}}
{{- $settings := list -}}
{{- if lookup "v1" "Namespace" "" "kube-system" -}}
  {{- range .volumes -}}
    {{- $present := true -}}
    {{- if .statefulSet -}}
    {{- $present = lookup "apps/v1" "StatefulSet" $namespace .statefulSet -}}
    {{- else -}}
    {{- $present = lookup "v1" "PersistentVolumeClaim" $namespace .claim -}}
    {{- end -}}
    {{- if not (or .className $present) -}}
    {{- $owners = append $owners .of -}}
    {{- $settings = append $settings (printf "    %s: NAME" (include "maas.valuePath" (dict "context" $.context "path" .path))) -}}
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
  {{- fail (printf "\n\nThe cluster has no default StorageClass, so nobody would make the volume of %s. It has: %s.\nSet:\n\n%s\n\nor make one the default:\n\n    kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true\n" ($owners | join ", ") ($names | join ", " | default "none at all") ($settings | join "\n")) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- /* Refuses a way in that leads nowhere. Takes (dict "context" $ "values" what holds ingress and httpRoute "path"). */ -}}
{{- define "maas.validateExposure" -}}
{{- $prefix := .path | default "" -}}
{{- if and .values.ingress.enabled (not .values.ingress.hosts) -}}
{{- fail (printf "\n\nAn Ingress needs a host name.\nSet:\n\n    %s: [%s.example.org]\n" (include "maas.valuePath" (dict "context" .context "path" (printf "%singress.hosts" $prefix))) .context.Chart.Name) -}}
{{- end -}}
{{- if and .values.httpRoute.enabled (not .values.httpRoute.parentRefs) -}}
{{- fail (printf "\n\nAn HTTPRoute needs a Gateway to attach to.\nSet:\n\n    %s: [{name: GATEWAY, namespace: NAMESPACE}]\n" (include "maas.valuePath" (dict "context" .context "path" (printf "%shttpRoute.parentRefs" $prefix)))) -}}
{{- end -}}
{{- end -}}
