{{- define "anabranch.pod" -}}
metadata:
  labels:
    {{- include "anabranch.selector" . | nindent 4 }}
spec:
  automountServiceAccountToken: false
  # What runs gets 20 seconds after SIGTERM, and the process is gone within 30.
  terminationGracePeriodSeconds: 40
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "anabranch.selector" . | nindent 10 }}
  containers:
    - name: worker
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [worker]
      env:
        {{- include "anabranch.env" . | nindent 8 }}
      envFrom:
        - secretRef: {name: {{ .Values.connections.secret }}}
      ports:
        - {name: metrics, containerPort: 9464}
      livenessProbe:
        httpGet: {path: /livez, port: metrics}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 5
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        # Of the whole volume, without subPath: only then does an update of the ConfigMap reach the worker.
        - {name: graphs, mountPath: /graphs, readOnly: true}
        - {name: scratch, mountPath: /tmp}
        {{- if include "anabranch.tls" . }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
  volumes:
    - name: graphs
      configMap: {name: {{ .Values.graphs.configMap }}}
    - name: scratch
      emptyDir: {sizeLimit: 64Mi}
    {{- with include "anabranch.tls" . }}
    - name: tls
      secret: {secretName: {{ . }}}
    {{- end }}
{{- end }}

{{- define "anabranch.tls" -}}
{{- if not .Values.workerDeployment.enabled }}{{ .Values.temporal.tls.secret }}{{ end }}
{{- end }}

{{- define "anabranch.env" -}}
{{- if not .Values.workerDeployment.enabled }}
- {name: TEMPORAL_ADDRESS, value: {{ .Values.temporal.address | quote }}}
- {name: TEMPORAL_NAMESPACE, value: {{ .Values.temporal.namespace | quote }}}
{{- end }}
{{- if include "anabranch.tls" . }}
- {name: TEMPORAL_TLS, value: "true"}
- {name: TEMPORAL_TLS_CLIENT_CERT_PATH, value: /tls/tls.crt}
- {name: TEMPORAL_TLS_CLIENT_KEY_PATH, value: /tls/tls.key}
{{- if .Values.temporal.tls.withAuthority }}
- {name: TEMPORAL_TLS_SERVER_CA_CERT_PATH, value: /tls/ca.crt}
{{- end }}
{{- end }}
- {name: ANABRANCH_TASK_QUEUE, value: {{ .Values.taskQueue | quote }}}
- {name: ANABRANCH_GRAPHS, value: /graphs}
- {name: ANABRANCH_METRICS_ADDRESS, value: "0.0.0.0:9464"}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
