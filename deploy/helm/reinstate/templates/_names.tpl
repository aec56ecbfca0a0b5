{{- define "reinstate.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "reinstate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "reinstate.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: 10001
  capabilities: {drop: [ALL]}
env:
  - name: REINSTATE_LOG
    value: "{{ .Values.logLevel }},json"
  - name: REINSTATE_LEASE_SECONDS
    value: {{ .Values.leaseSeconds | quote }}
  - name: REINSTATE_HOME
    value: /var/lib/reinstate
  {{- if .Values.metrics.enabled }}
  - name: REINSTATE_METRICS
    value: "0.0.0.0:{{ .Values.metrics.port }}"
  {{- end }}
  # in all, over every pod
  - name: REINSTATE_WORKERS
    value: {{ mul .Values.worker.replicas .Values.worker.processes | quote }}
{{- end }}

{{- define "reinstate.metricsPort" -}}
{{- if .Values.metrics.enabled }}
ports:
  - {name: metrics, containerPort: {{ .Values.metrics.port }}}
{{- end }}
{{- end }}

{{- define "reinstate.scraped" -}}
{{- if .Values.metrics.enabled }}
annotations:
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .Values.metrics.port | quote }}
{{- end }}
{{- end }}

{{- define "reinstate.scratch" -}}
- name: home
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- end }}

{{- define "reinstate.scratchMounts" -}}
- {name: home, mountPath: /var/lib/reinstate}
- {name: tmp, mountPath: /tmp}
{{- end }}
