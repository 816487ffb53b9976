{{- /* The pod that fills an empty menu. A Job, because one pod is enough. */ -}}
{{- define "restaurant.seedPod" -}}
serviceAccountName: {{ include "restaurant.fullname" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with include "maas.imagePullSecrets" . }}
{{ . }}
{{- end }}
{{- with include "maas.scheduling" (dict "context" . "name" "restaurant-seed" "values" (omit .Values "topologySpreadConstraints")) }}
{{ . }}
{{- end }}
restartPolicy: OnFailure
securityContext:
  {{- include "restaurant.podSecurityContext" . | nindent 2 }}
initContainers:
  - name: migrate
    image: {{ include "maas.image" (dict "context" . "image" .Values.image) | quote }}
    imagePullPolicy: IfNotPresent
    {{- include "restaurant.waitForDatabase" . | nindent 4 }}
    args: [migrate]
    env:
      {{- include "restaurant.env" . | nindent 6 }}
    securityContext:
      {{- include "restaurant.securityContext" . | nindent 6 }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    volumeMounts:
      {{- include "restaurant.volumeMounts" . | nindent 6 }}
containers:
  - name: seed
    image: {{ include "maas.image" (dict "context" . "image" .Values.image) | quote }}
    imagePullPolicy: IfNotPresent
    args: [seed, --profile, {{ .Values.seed }}]
    env:
      {{- include "restaurant.env" . | nindent 6 }}
    securityContext:
      {{- include "restaurant.securityContext" . | nindent 6 }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    volumeMounts:
      {{- include "restaurant.volumeMounts" . | nindent 6 }}
volumes:
  {{- include "restaurant.volumes" . | nindent 2 }}
{{- end -}}
