{{- /* Which field of Alertmanager's configuration takes a file with what must stay secret, by type of receiver. */ -}}
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

{{- /* The Secrets that Alertmanager reads, as a YAML list without doubles. */ -}}
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

{{- /* Alertmanager's configuration. Nothing of it is secret: what is, is read from files of Secrets. */ -}}
{{- define "kube-prometheus.alertmanagerConfig" -}}
{{- $values := .Values.alertmanager -}}
{{- $types := include "kube-prometheus.receiverTypes" . | fromYaml -}}
{{- $mounts := "/etc/alertmanager/secrets" -}}
route:
  receiver: nobody
  group_by: {{ toJson $values.groupBy }}
  group_wait: {{ $values.groupWait }}
  group_interval: {{ $values.groupInterval }}
  repeat_interval: {{ $values.repeatInterval }}
  routes:
    # Always firing, so that its absence is noticed elsewhere; nobody is to read it here.
    - receiver: {{ ternary "dead-mans-switch" "nobody" (ne $values.deadMansSwitch.existingSecret "") }}
      matchers: ['alertname="Watchdog"']
      group_wait: 0s
      group_interval: {{ $values.deadMansSwitch.interval }}
      repeat_interval: {{ $values.deadMansSwitch.interval }}
    # It only holds others back, see below.
    - receiver: nobody
      matchers: ['alertname="InfoInhibitor"']
    {{- range $values.receivers }}
    - receiver: {{ .name | quote }}
      {{- with .matchers }}
      matchers: {{ toJson . }}
      {{- end }}
      # The others of the list are told as well.
      continue: true
    {{- end }}
inhibit_rules:
  # Who is told of the severe need not be told of the slight one of the same kind.
  - source_matchers: ['severity="critical"']
    target_matchers: ['severity=~"warning|info"']
    equal: [cluster, namespace, alertname]
  - source_matchers: ['severity="warning"']
    target_matchers: ['severity="info"']
    equal: [cluster, namespace, alertname]
  # Alerts of the severity info matter when something else is wrong in their namespace.
  - source_matchers: ['alertname="InfoInhibitor"']
    target_matchers: ['severity="info"']
    equal: [cluster, namespace]
  # A node that is gone takes its pods and targets with it; one message says it all.
  - source_matchers: ['alertname=~"KubeNodeNotReady|KubeNodeUnreachable"']
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
