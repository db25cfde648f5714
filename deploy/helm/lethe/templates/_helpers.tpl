{{- define "lethe.name" -}}
{{- printf "%s-worker" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "lethe.selector" -}}
app.kubernetes.io/name: lethe
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
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
