{{- define "sdc.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{- define "sdc.labels" -}}
app.kubernetes.io/name: sdc-catalog
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sdc.image" -}}
{{- $image := index .root.Values.images .kind -}}
image: "{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.images.pullPolicy }}
{{- end }}

{{/* Of a container: no rights, and nothing to write but its volumes. */}}
{{- define "sdc.restricted" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Of a pod. */}}
{{- define "sdc.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "sdc.environment" -}}
- {name: SDC_HOME, value: /var/lib/catalog/home}
- {name: SDC_STORE, value: {{ .Values.store.url | default "/var/lib/sdc/store" | quote }}}
- {name: SDC_SECRETS, value: /run/secrets/sdc}
- {name: SDC_INGEST_ROOTS, value: '["/var/lib/incoming"]'}
- {name: SDC_LOG_FORMAT, value: json}
- {name: PREFECT_API_URL, value: "http://{{ include "sdc.name" . }}-prefect:4200/api"}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The secrets that a pod's containers read, each as a file; and what else all have. */}}
{{- define "sdc.volumes" -}}
- name: secrets
  secret:
    secretName: {{ .root.Values.secret }}
    defaultMode: 0440
    items:
      {{- range .secrets }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 4Gi}
- name: home
  emptyDir: {sizeLimit: {{ .home | default "10Gi" }}}
{{- end }}

{{- define "sdc.mounts" -}}
- {name: secrets, mountPath: /run/secrets/sdc, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /var/lib/catalog}
{{- end }}

{{/* What the API and workers have beyond that. */}}
{{- define "sdc.dataVolumes" -}}
{{- if not .Values.store.url }}
- name: store
  persistentVolumeClaim:
    claimName: {{ .Values.store.existingClaim | default (printf "%s-store" (include "sdc.name" .)) }}
{{- end }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.models.existingClaim | default (printf "%s-models" (include "sdc.name" .)) }}
{{- with .Values.incoming.existingClaim }}
- name: incoming
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "sdc.dataMounts" -}}
{{- if not .Values.store.url }}
- {name: store, mountPath: /var/lib/sdc}
{{- end }}
- {name: models, mountPath: /var/lib/models}
{{- if .Values.incoming.existingClaim }}
- {name: incoming, mountPath: /var/lib/incoming, readOnly: true}
{{- end }}
{{- end }}
