{{- /* The name of the objects. A release's name can have dots, which the name of a Service cannot. */ -}}
{{- define "restaurant.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name $release -}}
{{- $release | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "restaurant.databaseName" -}}
{{- include "restaurant.fullname" . }}-database
{{- end -}}

{{- /* Names of the Secrets: the user's or the chart's own. */ -}}
{{- define "restaurant.keySecret" -}}
{{- .Values.secretKey.existingSecret | default (printf "%s-key" (include "restaurant.fullname" .)) -}}
{{- end -}}
{{- /* Key of that Secret with the private key of the journal; empty if there is none. */ -}}
{{- define "restaurant.journalKey" -}}
{{- .Values.journalKey | default (ternary "" "journal-key" (ne .Values.secretKey.existingSecret "")) -}}
{{- end -}}
{{- define "restaurant.databaseSecret" -}}
{{- .Values.database.existingSecret | default (include "restaurant.databaseName" .) -}}
{{- end -}}

{{- /* Maximum number of pods, and how many more a rolling update adds. */ -}}
{{- define "restaurant.maxPods" -}}
{{- ternary .Values.autoscaling.maxReplicas .Values.replicas .Values.autoscaling.enabled | int -}}
{{- end -}}
{{- define "restaurant.surge" -}}
{{- $surge := .Values.updateStrategy.maxSurge | toString -}}
{{- if hasSuffix "%" $surge -}}
{{- divf (mulf (include "restaurant.maxPods" . | float64) (trimSuffix "%" $surge | float64)) 100.0 | ceil | int -}}
{{- else -}}
{{- $surge | int -}}
{{- end -}}
{{- end -}}

{{- /* Environment of the application, the same in every container that runs it. */ -}}
{{- define "restaurant.env" -}}
{{- with .Values.database -}}
- name: RESTAURANT_DATABASE_URL
  {{- if include "restaurant.replicated" $ }}
  {{- $servers := list }}
  {{- range include "restaurant.databaseServers" $ | fromYamlArray }}{{- $servers = append $servers (printf "host=%s:5432" .) }}{{- end }}
  value: postgresql://{{ .user }}@/{{ .name }}?{{ join "&" $servers }}
  {{- else if eq .type "postgresql" }}
  value: postgresql://{{ .user }}@{{ include "restaurant.databaseName" $ }}:5432/{{ .name }}
  {{- else if eq .type "external" }}
  {{- $host := ternary (printf "[%s]" .external.host) .external.host (contains ":" .external.host) }}
  value: {{ printf "postgresql://%s@%s:%d/%s?sslmode=%s" .user $host (int .external.port) .name .external.sslMode | quote }}
  {{- else }}
  value: sqlite:////var/lib/restaurant/restaurant.sqlite3
  {{- end }}
{{- if ne .type "sqlite" }}
- name: RESTAURANT_DATABASE_PASSWORD_FILE
  value: /run/secrets/restaurant/database-password
- name: RESTAURANT_DATABASE_POOL_SIZE
  value: {{ .poolSize | quote }}
{{- end }}
{{- end }}
- name: RESTAURANT_SECRET_KEY_FILE
  value: /run/secrets/restaurant/secret-key
{{- if include "restaurant.journalKey" . }}
- name: RESTAURANT_JOURNAL_KEY_FILE
  value: /run/secrets/restaurant/journal-key
{{- end }}
{{- with .Values.settings }}
- name: RESTAURANT_NAME
  value: {{ .name | quote }}
- name: RESTAURANT_TIMEZONE
  value: {{ .timezone | quote }}
- name: RESTAURANT_LOG_LEVEL
  value: {{ .logLevel | quote }}
- name: RESTAURANT_THREADS
  value: {{ .threads | quote }}
{{- if .maxStreams }}
- name: RESTAURANT_MAX_STREAMS
  value: {{ .maxStreams | quote }}
{{- end }}
{{- with .address }}
- name: RESTAURANT_ADDRESS
  value: {{ . | quote }}
{{- end }}
{{- with .registration }}
- name: RESTAURANT_REGISTRATION
  value: {{ . | quote }}
{{- end }}
{{- with .siren }}
- name: RESTAURANT_SIREN
  value: {{ . | quote }}
{{- end }}
- name: RESTAURANT_BOOKING_TIMES
  value: {{ .bookingTimes | quote }}
- name: RESTAURANT_TAKE_AWAY_TIMES
  value: {{ .takeAwayTimes | quote }}
- name: RESTAURANT_ORDERS_PER_ADDRESS
  value: {{ .ordersPerAddress | quote }}
- name: RESTAURANT_BOOKINGS_PER_ADDRESS
  value: {{ .bookingsPerAddress | quote }}
- name: RESTAURANT_BOOKINGS_PER_CONTACT
  value: {{ .bookingsPerContact | quote }}
- name: RESTAURANT_TABLE_ORDERS
  value: {{ .tableOrders | quote }}
- name: RESTAURANT_TABLE_ORDERS_PER_ADDRESS
  value: {{ .tableOrdersPerAddress | quote }}
- name: RESTAURANT_TABLE_ORDERS_PER_TABLE
  value: {{ .tableOrdersPerTable | quote }}
- name: RESTAURANT_BOOKING_COVERS
  value: {{ .bookingCovers | quote }}
- name: RESTAURANT_BOOKING_STAYS
  value: {{ .bookingStays | quote }}
- name: RESTAURANT_DEPOSIT_PER_COVER
  value: {{ .depositPerCover | int | quote }}
- name: RESTAURANT_DEPOSIT_FIXED
  value: {{ .depositFixed | int | quote }}
- name: RESTAURANT_DEPOSIT_COVERS
  value: {{ .depositCovers | quote }}
- name: RESTAURANT_DEPOSIT_REFUND_HOURS
  value: {{ .depositRefundHours | quote }}
- name: RESTAURANT_DEPOSIT_PAY_MINUTES
  value: {{ .depositPayMinutes | quote }}
- name: RESTAURANT_KITCHEN_WARNING_MINUTES
  value: {{ .kitchenWarningMinutes | quote }}
- name: RESTAURANT_KITCHEN_LATE_MINUTES
  value: {{ .kitchenLateMinutes | quote }}
- name: RESTAURANT_DAY_START
  value: {{ .dayStart | quote }}
{{- with .closedDays }}
- name: RESTAURANT_CLOSED_DAYS
  value: {{ join "," . | quote }}
{{- end }}
- name: RESTAURANT_CANCELLATION_MINUTES
  value: {{ .cancellationMinutes | quote }}
- name: RESTAURANT_DRAIN_SECONDS
  value: {{ .drainSeconds | quote }}
- name: RESTAURANT_GRACE_SECONDS
  value: {{ .graceSeconds | quote }}
- name: RESTAURANT_TRUSTED_PROXIES
  value: {{ .trustedProxies | quote }}
{{- with .prefix }}
- name: RESTAURANT_PREFIX
  value: {{ . | quote }}
{{- end }}
- name: RESTAURANT_HTTPS
  value: {{ .https | quote }}
{{- end }}
{{- with .Values.messages }}
- name: RESTAURANT_REMINDER_HOURS
  value: {{ .reminderHours | quote }}
{{- with .publicUrl }}
- name: RESTAURANT_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{- if .email.url }}
- name: RESTAURANT_SMTP_URL
  value: {{ .email.url | quote }}
- name: RESTAURANT_SMTP_SENDER
  value: {{ .email.sender | quote }}
{{- if .email.existingSecret }}
- name: RESTAURANT_SMTP_PASSWORD_FILE
  value: /run/secrets/restaurant/smtp-password
{{- end }}
{{- end }}
{{- if .sms.url }}
- name: RESTAURANT_SMS_URL
  value: {{ .sms.url | quote }}
{{- if .sms.existingSecret }}
- name: RESTAURANT_SMS_TOKEN_FILE
  value: /run/secrets/restaurant/sms-token
{{- end }}
{{- end }}
{{- end }}
{{- range $name := list "terminal" "online" }}
{{- with index $.Values.payments $name }}
{{- if .url }}
- name: RESTAURANT_{{ upper $name }}_URL
  value: {{ .url | quote }}
- name: RESTAURANT_{{ upper $name }}_SECRET_FILE
  value: /run/secrets/restaurant/{{ $name }}-secret
{{- if eq (.provider | default "http") "stripe" }}
- name: RESTAURANT_ONLINE_PROVIDER
  value: stripe
{{- if .webhookKey }}
- name: RESTAURANT_ONLINE_WEBHOOK_SECRET_FILE
  value: /run/secrets/restaurant/online-webhook
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
- name: RESTAURANT_PROVIDER_SECONDS
  value: {{ .Values.payments.timeoutSeconds | quote }}
{{- with .Values.tracing.endpoint }}
- name: RESTAURANT_TRACES_ENDPOINT
  value: {{ . | quote }}
- name: RESTAURANT_TRACES_RATIO
  value: {{ $.Values.tracing.ratio | quote }}
{{- end }}
{{- if .Values.faultInjection.enabled }}
- name: RESTAURANT_FAULT_INJECTION
  value: "true"
{{- end }}
{{- end -}}

{{- define "restaurant.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
- name: secrets
  mountPath: /run/secrets/restaurant
  readOnly: true
{{- if eq .Values.database.type "sqlite" }}
- name: data
  mountPath: /var/lib/restaurant
{{- end }}
{{- end -}}

{{- define "restaurant.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "restaurant.keySecret" . | quote }}
          items:
            - key: {{ .Values.secretKey.key | quote }}
              path: secret-key
            {{- with include "restaurant.journalKey" . }}
            - key: {{ . | quote }}
              path: journal-key
            {{- end }}
      {{- with .Values.messages.email }}
      {{- if and .url .existingSecret }}
      - secret:
          name: {{ .existingSecret | quote }}
          items:
            - key: {{ .passwordKey | quote }}
              path: smtp-password
      {{- end }}
      {{- end }}
      {{- with .Values.messages.sms }}
      {{- if and .url .existingSecret }}
      - secret:
          name: {{ .existingSecret | quote }}
          items:
            - key: {{ .tokenKey | quote }}
              path: sms-token
      {{- end }}
      {{- end }}
      {{- range $name := list "terminal" "online" }}
      {{- with index $.Values.payments $name }}
      {{- if .url }}
      - secret:
          name: {{ .existingSecret | quote }}
          items:
            - key: {{ .key | quote }}
              path: {{ $name }}-secret
            {{- if and (eq (.provider | default "http") "stripe") .webhookKey }}
            - key: {{ .webhookKey | quote }}
              path: online-webhook
            {{- end }}
      {{- end }}
      {{- end }}
      {{- end }}
      {{- if ne .Values.database.type "sqlite" }}
      - secret:
          name: {{ include "restaurant.databaseSecret" . | quote }}
          items:
            - key: {{ .Values.database.passwordKey | quote }}
              path: database-password
      {{- end }}
{{- if eq .Values.database.type "sqlite" }}
- name: data
  persistentVolumeClaim:
    claimName: {{ include "restaurant.fullname" . }}-data
{{- end }}
{{- end -}}

{{- /* Security contexts of every pod and container that runs the application's image. */ -}}
{{- define "restaurant.podSecurityContext" -}}
{{- $user := dict "runAsUser" 10001 "runAsGroup" 10001 "fsGroup" 10001 "fsGroupChangePolicy" "OnRootMismatch" -}}
{{- include "maas.podSecurityContext" (dict "values" .Values "defaults" $user) -}}
{{- end -}}
{{- define "restaurant.securityContext" -}}
{{- include "maas.securityContext" (dict "values" .Values) -}}
{{- end -}}

{{- /* Values of a network policy without the user's rules, which are for the application's pods only. */ -}}
{{- define "restaurant.closedPolicy" -}}
enabled: {{ .Values.networkPolicy.enabled }}
ingress: []
egress: []
{{- end -}}

{{- /* "true" when the database's exporter is installed. */ -}}
{{- define "restaurant.databaseMetrics.enabled" -}}
{{- $wanted := .Values.database.postgresql.metrics.enabled | toString -}}
{{- if and (eq .Values.database.type "postgresql") (include "maas.serviceMonitor.enabled" (dict "context" . "serviceMonitor" (dict "enabled" $wanted))) -}}
true
{{- end -}}
{{- end -}}

{{- /* The command of a container that waits for the database first; its arguments are the application's. */ -}}
{{- define "restaurant.waitForDatabase" -}}
command:
  - python3
  - -c
  - |
    {{- .Files.Get "files/app/wait_for_database.py" | nindent 4 }}
{{- end -}}
