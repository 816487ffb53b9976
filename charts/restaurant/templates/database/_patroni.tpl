{{- /* "true" when Patroni runs several servers. */ -}}
{{- define "restaurant.replicated" -}}
{{- if and (eq .Values.database.type "postgresql") (gt (int .Values.database.postgresql.replicas) 1) -}}
true
{{- end -}}
{{- end -}}

{{- /* The names of the servers' Services, a YAML list. Each has the name of its pod. */ -}}
{{- define "restaurant.databaseServers" -}}
{{- range until (int .Values.database.postgresql.replicas) -}}
- {{ include "restaurant.databaseName" $ }}-{{ . }}
{{ end -}}
{{- end -}}

{{- /* Settings that Patroni keeps in the cluster, because all servers must have the same. */ -}}
{{- define "restaurant.patroniShared" -}}
# The shortest time that Patroni allows, and loop_wait + 2 * retry_timeout must not exceed it.
ttl: 20
loop_wait: 3
retry_timeout: 8
# A commit is acknowledged when a second server has it, so a primary that is cut off can acknowledge none.
synchronous_mode: quorum
synchronous_mode_strict: true
synchronous_node_count: 1
# While no API server responds, the primary continues if it reaches all other servers.
failsafe_mode: true
primary_start_timeout: 10
check_timeline: true
postgresql:
  use_pg_rewind: true
  use_slots: true
  parameters:
    max_connections: {{ .Values.database.postgresql.maxConnections }}
    wal_level: replica
    wal_log_hints: "on"
    max_wal_senders: 10
    max_replication_slots: 10
    hot_standby: "on"
{{- end -}}

{{- define "restaurant.patroniFiles" -}}
start.sh: |
  {{- .Files.Get "files/database/patroni/start.sh" | nindent 2 }}
ready.sh: |
  {{- .Files.Get "files/database/patroni/ready.sh" | nindent 2 }}
configure_primary.py: |
  {{- .Files.Get "files/database/patroni/configure_primary.py" | nindent 2 }}
shared.json: |
  {{- include "restaurant.patroniShared" . | fromYaml | toJson | nindent 2 }}
bootstrap.yml: |
  bootstrap:
    initdb:
      - encoding: UTF8
      - locale: C.UTF-8
      - auth-local: peer
      - auth-host: scram-sha-256
      - data-checksums
    dcs:
      {{- include "restaurant.patroniShared" . | nindent 6 }}
patroni.yml: |
  scope: {{ include "restaurant.databaseName" . }}
  kubernetes:
    namespace: {{ include "maas.namespace" . }}
    labels:
      {{- include "maas.selectorLabels" (dict "context" . "name" "restaurant-database") | nindent 6 }}
    # Requests go to all API servers: a Service would send some to one that is lost, until it notices.
    bypass_api_service: true
  restapi:
    listen: 0.0.0.0:8008
  postgresql:
    listen: 0.0.0.0:5432
    bin_dir: /usr/lib/postgresql/15/bin
    data_dir: /var/lib/postgresql/data/pgdata
    pgpass: /tmp/pgpass
    use_unix_socket: true
    # The primary's data is taken again where a former primary cannot follow it otherwise. What it has beyond that was
    # never acknowledged.
    remove_data_directory_on_rewind_failure: true
    remove_data_directory_on_diverged_timelines: true
    basebackup:
      - checkpoint: fast
    callbacks:
      on_start: &configure python3 /etc/restaurant-database/configure_primary.py
      on_role_change: *configure
    pg_hba:
      # The superuser connects only through the socket inside the pod, as the operating system user.
      - local all postgres peer
      - host replication replicator all scram-sha-256
      - host postgres rewinder all scram-sha-256
      - host all postgres,replicator,rewinder all reject
      # All other users connect through the network, with a password.
      - host all all all scram-sha-256
    parameters:
      {{- range $line := .Files.Lines "files/database/postgresql.conf" }}
      {{- if and (contains " = " $line) (not (regexMatch "^(listen_addresses|port|hba_file|ident_file) " $line)) }}
      {{ $line | replace " = " ": " | replace ": on" ": \"on\"" | replace ": off" ": \"off\"" }}
      {{- end }}
      {{- end }}
      shared_buffers: {{ .Values.database.postgresql.sharedBuffers }}
      # WAL for a replica that is away; with more, the replica is created again, and the primary's volume does not fill up.
      wal_keep_size: 128MB
      max_slot_wal_keep_size: 512MB
{{- end -}}

{{- /* Labels of the objects of the database, with the version of the image that runs. */ -}}
{{- define "restaurant.databaseLabels" -}}
{{- $labels := include "maas.labels" (dict "context" . "name" "restaurant-database") | fromYaml -}}
{{- if include "restaurant.replicated" . -}}
{{- $_ := set $labels "app.kubernetes.io/version" .Values.database.postgresql.patroni.image.tag -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}
