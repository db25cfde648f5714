{{- define "lethe.name" -}}
{{- printf "%s-worker" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lethe.selector" -}}
app.kubernetes.io/name: lethe
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "lethe.service.name" -}}
{{- printf "%s-service" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lethe.service.selector" -}}
app.kubernetes.io/name: lethe
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "lethe.service.labels" -}}
{{ include "lethe.service.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "lethe.service.checked" -}}
{{- if and .Values.service.databaseSecret .Values.service.existingClaim -}}
{{- fail "service: give `databaseSecret` (PostgreSQL) or `existingClaim` (a volume for a file of SQLite), not both" -}}
{{- else if not (or .Values.service.databaseSecret .Values.service.existingClaim) -}}
{{- fail "service: give `databaseSecret` (PostgreSQL) or `existingClaim` (a volume for a file of SQLite)" -}}
{{- else if and .Values.service.existingClaim (gt (int .Values.service.replicas) 1) -}}
{{- fail "service: several replicas need `databaseSecret`: a file of SQLite is for one" -}}
{{- end -}}
{{- end -}}

{{- define "lethe.labels" -}}
{{ include "lethe.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "lethe.root" -}}
{{- if and .Values.warehouse.root .Values.warehouse.existingClaim -}}
{{- fail "warehouse: give `root` (an object store) or `existingClaim` (a volume), not both" -}}
{{- else if .Values.warehouse.root -}}
{{- .Values.warehouse.root -}}
{{- else if .Values.warehouse.existingClaim -}}
/var/lib/lethe/warehouse
{{- else -}}
{{- fail "warehouse: give `root` (an object store) or `existingClaim` (a volume that all workers write to)" -}}
{{- end -}}
{{- end -}}

{{/* The key directory: below the volume's root, which fsGroup may leave open to everybody in the pod. */}}
{{- define "lethe.keys" -}}
/var/lib/lethe/keys{{ with .Values.keys.folder }}/{{ . }}{{ end }}
{{- end }}
