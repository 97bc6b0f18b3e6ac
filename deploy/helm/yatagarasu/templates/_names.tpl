{{- define "yatagarasu.name" -}}
{{- if .Values.fullnameOverride }}{{ .Values.fullnameOverride }}
{{- else if contains "yatagarasu" .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}
{{- else }}{{ printf "%s-yatagarasu" .Release.Name | trunc 53 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "yatagarasu.selector" -}}
app.kubernetes.io/name: yatagarasu
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "yatagarasu.labels" -}}
{{ include "yatagarasu.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "yatagarasu.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "yatagarasu.name" .) }}
{{- else }}{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- define "yatagarasu.image" -}}
{{- with .Values.image }}{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}{{ end }}
{{- end }}

{{- /* The gateway's configuration. */}}
{{- define "yatagarasu.config" -}}
{{- if not .Values.config.buckets }}
{{- fail "config.buckets is empty: list the buckets to serve, as docs/CONFIGURATION.md says, or name a Secret with the whole file in existingSecret" }}
{{- end }}
{{- mustMergeOverwrite (deepCopy .Values.config) (dict "server" (dict "address" ":8080") "metrics" (dict "enabled" true "port" 9090)) | toYaml }}
{{- end }}

{{- /* 90 % of the memory limit, in bytes; nothing without a limit. */}}
{{- define "yatagarasu.memory" -}}
{{- with ((.Values.resources).limits).memory }}
{{- $limit := toString . }}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" $limit }}
{{- $unit := trimPrefix $number $limit }}
{{- $units := dict "" 1 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- if not (and $number (hasKey $units $unit)) }}{{ fail (printf "resources.limits.memory is %q: write a number and one of k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei" $limit) }}{{ end }}
{{- mulf (float64 $number) (get $units $unit) 0.9 | int64 }}
{{- end }}
{{- end }}

{{- define "yatagarasu.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "yatagarasu.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
