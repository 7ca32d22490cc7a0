{{- define "anabranch.name" -}}
{{ .Release.Name }}-worker
{{- end }}

{{- define "anabranch.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: worker
{{- end }}

{{- define "anabranch.labels" -}}
{{ include "anabranch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "anabranch.metadata" -}}
name: {{ include "anabranch.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "anabranch.labels" . | nindent 2 }}
{{- end }}
