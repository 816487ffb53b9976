{{- /* grafana.ini by section. The user's settings override the chart's. */ -}}
{{- define "kube-prometheus.grafanaIni" -}}
{{- $values := .Values.grafana -}}
{{- $ini := dict -}}
{{- $_ := set $ini "paths" (dict
  "data" "/var/lib/grafana"
  "logs" "/var/lib/grafana/logs"
  "plugins" "/var/lib/grafana/plugins"
  "provisioning" "/etc/grafana/provisioning"
) -}}
{{- $_ := set $ini "server" (dict
  "http_port" 3000
  "root_url" (include "kube-prometheus.externalUrl" (dict "context" . "values" $values "service" "grafana"))
) -}}
{{- $_ := set $ini "security" (dict
  "disable_gravatar" true
  "cookie_samesite" "lax"
  "cookie_secure" (hasPrefix "https://" $ini.server.root_url)
  "strict_transport_security" (hasPrefix "https://" $ini.server.root_url)
) -}}
{{- $_ := set $ini "users" (dict "allow_sign_up" false "allow_org_create" false) -}}
{{- $_ := set $ini "auth.anonymous" (dict "enabled" false) -}}
{{- /* No requests to the Internet: a site without it must not wait for timeouts, and no usage is reported. */ -}}
{{- $_ := set $ini "analytics" (dict
  "reporting_enabled" false
  "check_for_updates" false
  "check_for_plugin_updates" false
  "feedback_links_enabled" false
) -}}
{{- $_ := set $ini "news" (dict "news_feed_enabled" false) -}}
{{- $_ := set $ini "plugins" (dict "preinstall_disabled" true "public_key_retrieval_disabled" true) -}}
{{- $_ := set $ini "log" (dict "mode" "console") -}}
{{- $_ := set $ini "dashboards" (dict
  "default_home_dashboard_path" "/etc/grafana/dashboards/platform/overview.json"
) -}}
{{- /* Prometheus and Alertmanager handle alerts. */ -}}
{{- $_ := set $ini "unified_alerting" (dict "enabled" false) -}}
{{- if $values.oidc.enabled -}}
  {{- $oidc := dict
    "enabled" true
    "name" $values.oidc.name
    "client_id" $values.oidc.clientId
    "client_secret" "$__file{/etc/grafana/oidc/client-secret}"
    "scopes" (join " " $values.oidc.scopes)
    "auth_url" $values.oidc.authUrl
    "token_url" $values.oidc.tokenUrl
    "api_url" $values.oidc.userInfoUrl
    "use_pkce" true
    "allow_sign_up" true
    "role_attribute_path" ($values.oidc.rolePath | default "'Viewer'")
  -}}
  {{- $_ := set $ini "auth.generic_oauth" $oidc -}}
{{- end -}}
{{- $ini = mergeOverwrite $ini (deepCopy $values.settings) -}}
{{- range $section, $settings := $ini }}
[{{ $section }}]
{{- range $key, $value := $settings }}
{{ $key }} = {{ include "kube-prometheus.grafanaIni.value" $value }}
{{- end }}
{{ end -}}
{{- end -}}

{{- /*
A value of grafana.ini. Outside of triple quotes, the parser cuts a value at # and ;, joins lines at a backslash, and
removes surrounding quotes.
*/ -}}
{{- define "kube-prometheus.grafanaIni.value" -}}
{{- if and (kindIs "string" .) (not (regexMatch "^[-A-Za-z0-9_./:,$ {}]*$" .)) -}}
"""{{ . }}"""
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}
