{{- define "restaurant.databaseFiles" -}}
initialize.sh: |
  {{- .Files.Get "files/database/initialize.sh" | nindent 2 }}
pg_hba.conf: |
  {{- .Files.Get "files/database/pg_hba.conf" | nindent 2 }}
postgresql.conf: |
  {{- .Files.Get "files/database/postgresql.conf" | nindent 2 }}
  max_connections = {{ .Values.database.postgresql.maxConnections }}
  shared_buffers = {{ .Values.database.postgresql.sharedBuffers }}
{{- end -}}

{{- /* Paths of the official image, and of images derived from it. */ -}}
{{- define "restaurant.databaseEnv" -}}
- name: PATH
  value: /usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin
- name: PGDATA
  value: /var/lib/postgresql/data/pgdata
{{- end -}}

{{- /* The keys of the Secret that the servers need, a YAML list. */ -}}
{{- define "restaurant.databaseKeys" -}}
- {{ .Values.database.passwordKey | quote }}
{{- if include "restaurant.replicated" . }}
- {{ .Values.database.replicationPasswordKey | quote }}
{{- end }}
{{- end -}}

{{- /* Complete, as the API server returns it: GitOps tools compare the whole list. */ -}}
{{- define "restaurant.databaseClaims" -}}
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: data
    labels:
      {{- include "maas.podLabels" (dict "context" . "name" "restaurant-database") | nindent 6 }}
  spec:
    {{- include "maas.storage.claim" .Values.database.postgresql.storage | nindent 4 }}
    volumeMode: Filesystem
  status:
    phase: Pending
{{- end -}}
