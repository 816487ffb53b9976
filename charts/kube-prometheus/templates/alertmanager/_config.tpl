{{- /* For each type of receiver: its field in Alertmanager's configuration, the field that reads a credential from a file. */ -}}
{{- define "kube-prometheus.receiverTypes" -}}
webhook: {configs: webhook_configs, file: url_file, key: url}
slack: {configs: slack_configs, file: api_url_file, key: url}
pagerduty: {configs: pagerduty_configs, file: routing_key_file, key: routing-key}
opsgenie: {configs: opsgenie_configs, file: api_key_file, key: api-key}
msteams: {configs: msteamsv2_configs, file: webhook_url_file, key: url}
discord: {configs: discord_configs, file: webhook_url_file, key: url}
telegram: {configs: telegram_configs, file: bot_token_file, key: token}
email: {configs: email_configs, file: auth_password_file, key: password}
{{- end -}}

{{- /* Names of the Secrets that Alertmanager mounts, as a YAML list without duplicates. */ -}}
{{- define "kube-prometheus.receiverSecrets" -}}
{{- $names := list -}}
{{- range .Values.alertmanager.receivers -}}
{{- $names = append $names .existingSecret -}}
{{- end -}}
{{- with .Values.alertmanager.deadMansSwitch.existingSecret -}}
{{- $names = append $names . -}}
{{- end -}}
{{- toYaml ($names | uniq | sortAlpha) -}}
{{- end -}}

{{- /* Alertmanager's configuration. It contains no credentials: Alertmanager reads them from mounted Secrets. */ -}}
{{- define "kube-prometheus.alertmanagerConfig" -}}
{{- $values := .Values.alertmanager -}}
{{- $types := include "kube-prometheus.receiverTypes" . | fromYaml -}}
{{- $mounts := "/etc/alertmanager/secrets" -}}
route:
  receiver: nobody
  group_by: {{ toJson $values.groupBy }}
  group_wait: {{ $values.groupWait | quote }}
  group_interval: {{ $values.groupInterval | quote }}
  repeat_interval: {{ $values.repeatInterval | quote }}
  routes:
    # Watchdog always fires. An external service notices when it stops; no receiver should get it.
    - receiver: {{ ternary "dead-mans-switch" "nobody" (ne $values.deadMansSwitch.existingSecret "") | quote }}
      matchers: ['alertname="Watchdog"'{{ include "kube-prometheus.notOfTeams" . }}]
      group_wait: 0s
      group_interval: {{ $values.deadMansSwitch.interval | quote }}
      repeat_interval: {{ $values.deadMansSwitch.interval | quote }}
    # InfoInhibitor only inhibits other alerts, see below.
    - receiver: nobody
      matchers: ['alertname="InfoInhibitor"']
    {{- range $values.receivers }}
    - receiver: {{ .name | quote }}
      {{- with .matchers }}
      matchers: {{ toJson . }}
      {{- end }}
      # Continue with the receivers that follow.
      continue: true
    {{- end }}
inhibit_rules:
  # A more severe alert inhibits the less severe ones of the same name.
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity=~"warning|info"']
    equal: [cluster, namespace, alertname]
  - source_matchers: ['severity="warning"']
    target_matchers: ['severity="info"']
    equal: [cluster, namespace, alertname]
  # Alerts of the severity info are sent only while another alert fires in their namespace.
  - source_matchers: ['alertname="InfoInhibitor"']
    target_matchers: ['severity="info"']
    equal: [cluster, namespace]
  # The alert about a lost node inhibits those about its pods and targets.
  - source_matchers: ['alertname=~"KubeNodeNotReady|KubeNodeUnreachable"'{{ include "kube-prometheus.notOfTeams" . }}]
    target_matchers: ['node=~".+"', 'alertname!~"KubeNodeNotReady|KubeNodeUnreachable"']
    equal: [cluster, node]
receivers:
  - name: nobody
  {{- if $values.deadMansSwitch.existingSecret }}
  - name: dead-mans-switch
    webhook_configs:
      - url_file: {{ $mounts }}/{{ $values.deadMansSwitch.existingSecret }}/{{ $values.deadMansSwitch.key }}
        send_resolved: false
  {{- end }}
  {{- range $values.receivers }}
  {{- $type := get $types .type }}
  - name: {{ .name | quote }}
    {{ $type.configs }}:
      - {{ $type.file }}: {{ $mounts }}/{{ .existingSecret }}/{{ .key | default $type.key }}
        {{- with merge dict (.settings | default dict) (dict "send_resolved" true) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- end }}
{{- end -}}
