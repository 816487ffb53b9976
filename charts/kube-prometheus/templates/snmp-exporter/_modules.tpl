{{- /*
The configuration of snmp-exporter 0.21: each module once for each login that devices with it use, because a login is part of a
module there. The config-reloader replaces $(NAME) with what "kube-prometheus.snmpVariables" reads from Secrets.
*/ -}}
{{- define "kube-prometheus.snmpModules" -}}
{{- /* Before what it would fail for: Helm decides the order of files. */ -}}
{{- include "kube-prometheus.validateSnmp" . -}}
{{- $known := .Files.Get "files/snmp-modules.yaml" | fromYaml -}}
{{- $modules := dict -}}
{{- range $device := .Values.snmp.targets -}}
{{- $login := get $.Values.snmp.logins .login -}}
{{- $auth := dict -}}
{{- range $field, $key := include "kube-prometheus.snmpKeys" $login | fromYaml -}}
{{- $_ := set $auth $field (printf "$(%s)" (include "kube-prometheus.snmpVariable" (list $device.login $field))) -}}
{{- end -}}
{{- if eq (int $login.version) 3 -}}
{{- $level := $login.securityLevel | default "authPriv" -}}
{{- $_ := set $auth "security_level" $level -}}
{{- if ne $level "noAuthNoPriv" -}}{{- $_ := set $auth "auth_protocol" ($login.authProtocol | default "SHA") -}}{{- end -}}
{{- if eq $level "authPriv" -}}{{- $_ := set $auth "priv_protocol" ($login.privacyProtocol | default "AES") -}}{{- end -}}
{{- end -}}
{{- range .modules | default (list "if_mib") -}}
{{- $module := dict "version" (int $login.version) "auth" $auth "timeout" "5s" "retries" 1 -}}
{{- $_ := set $modules (printf "%s.%s" $device.login .) (merge $module (get $known .)) -}}
{{- end -}}
{{- end -}}
{{- /* Quoted, so that any character but a single quote may be in a password. */ -}}
{{- regexReplaceAll "\\$\\([A-Z0-9_]+\\)" (toYaml $modules) "'${0}'" -}}
{{- end -}}

{{- /* The secret fields of a login and their keys in its Secret, as YAML. Takes the login. */ -}}
{{- define "kube-prometheus.snmpKeys" -}}
{{- $level := .securityLevel | default "authPriv" -}}
{{- if ne (int .version) 3 -}}
community: community
{{- else -}}
username: username
{{- if ne $level "noAuthNoPriv" }}
password: password
{{- end }}
{{- if eq $level "authPriv" }}
priv_password: privacyPassword
{{- end }}
{{- end -}}
{{- end -}}

{{- /* The name of the environment variable with a field of a login. Takes (list its name, the field). */ -}}
{{- define "kube-prometheus.snmpVariable" -}}
{{- printf "SNMP_%s_%s" (first . | replace "-" "_") (last .) | upper -}}
{{- end -}}

{{- /* The environment variables with the logins that devices use. */ -}}
{{- define "kube-prometheus.snmpVariables" -}}
{{- $used := dict -}}
{{- range .Values.snmp.targets -}}{{- $_ := set $used .login true -}}{{- end -}}
{{- range $name, $login := .Values.snmp.logins -}}
{{- if hasKey $used $name -}}
{{- range $field, $key := include "kube-prometheus.snmpKeys" $login | fromYaml }}
- name: {{ include "kube-prometheus.snmpVariable" (list $name $field) }}
  valueFrom:
    secretKeyRef: {name: {{ $login.existingSecret | quote }}, key: {{ $key }}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
