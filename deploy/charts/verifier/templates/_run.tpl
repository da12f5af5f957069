{{/* Words of this chart's templates. */}}

{{/*
The API server's token and certificate, where clients look for them. Mounted by name, and
not by automountServiceAccountToken, so that nothing else gets one.
*/}}
{{- define "verifier.token" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{- define "verifier.tokenMount" -}}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}

{{/* Where reports are: the claim's name, or "" without one. */}}
{{- define "verifier.claim" -}}
{{- with .Values.persistence }}{{ if .enabled }}{{ .existingClaim | default "reports" }}{{ end }}{{ end }}
{{- end }}

{{- define "verifier.reports" -}}
- name: reports
  {{- with include "verifier.claim" . }}
  persistentVolumeClaim:
    claimName: {{ . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- end }}

{{/* A volume for one node holds everyone who mounts it there. */}}
{{- define "verifier.beside" -}}
{{- if and (include "verifier.claim" .) .Values.reports.enabled (eq .Values.persistence.accessMode "ReadWriteOnce") }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app: reports
{{- end }}
{{- end }}

{{/* One run, as a Job's spec. It is never tried again: a failed run is a result. */}}
{{- define "verifier.job" -}}
backoffLimit: 0
activeDeadlineSeconds: {{ .Values.pod.deadlineSeconds }}
# A second pod while the first one still takes its faults back would only be refused the lease.
podReplacementPolicy: Failed
template:
  metadata:
    labels:
      {{- include "seatrial.podLabels" (dict "app" "verifier") | nindent 6 }}
    annotations:
      # Nobody moves a pod that has broken something.
      cluster-autoscaler.kubernetes.io/safe-to-evict: "false"
  spec:
    {{- include "seatrial.pod" (dict "app" "verifier" "ctx" .) | nindent 4 }}
    {{- include "verifier.beside" . | nindent 4 }}
    restartPolicy: Never
    terminationGracePeriodSeconds: {{ .Values.pod.graceSeconds }}
    initContainers:
      - name: prune
        {{- include "seatrial.container" (dict "image" .Values.image "ctx" .) | nindent 8 }}
        args: [prune, --reports=/reports, --keep={{ .Values.reports.keep }}]
        resources:
          requests: {cpu: 10m, memory: 32Mi}
          limits: {memory: 256Mi}
        volumeMounts:
          - {name: reports, mountPath: /reports}
    containers:
      - name: run
        {{- include "seatrial.container" (dict "image" .Values.image "ctx" .) | nindent 8 }}
        args:
          - run
          - --target=kubernetes
          - --report=/reports
          - --namespace={{ .Values.system.namespace }}
          - --verifier-namespace={{ .Release.Namespace }}
          - --chaos-mesh-namespace={{ .Values.chaosMesh.namespace }}
          {{- with .Values.chaosMesh.version }}
          - --chaos-mesh-version={{ . }}
          {{- end }}
          - --prometheus={{ .Values.prometheus }}
          - --alertmanager={{ .Values.alertmanager }}
          # Its image has no kubectl, which runbooks' commands are for.
          - --no-mitigation
          - --seed={{ int64 .Values.suite.seed }}
          {{- with .Values.suite.tags }}
          - {{ printf "--tags=%s" . | quote }}
          {{- end }}
          {{- range .Values.suite.args }}
          - {{ . | quote }}
          {{- end }}
        resources:
          {{- toYaml .Values.pod.resources | nindent 10 }}
        volumeMounts:
          - {name: reports, mountPath: /reports}
          - {name: tmp, mountPath: /tmp}
          {{- include "verifier.tokenMount" . | nindent 10 }}
    volumes:
      {{- include "verifier.reports" . | nindent 6 }}
      - name: tmp
        emptyDir: {sizeLimit: 256Mi}
      {{- include "verifier.token" . | nindent 6 }}
{{- end }}

{{- define "verifier.role" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "verifier.placed" . | nindent 2 }}
{{- end }}

{{- define "verifier.binding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "verifier.placed" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ get . "name" | default .app }}
subjects:
  - kind: ServiceAccount
    name: {{ .app }}
    namespace: {{ .ctx.Release.Namespace }}
{{- end }}

{{/* Metadata of an object that may be in another namespace. */}}
{{- define "verifier.placed" -}}
name: {{ get . "name" | default .app }}
namespace: {{ get . "namespace" | default .ctx.Release.Namespace }}
labels:
  {{- include "seatrial.labels" . | nindent 2 }}
{{- end }}

{{- define "verifier.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "seatrial.metadata" (dict "app" "verifier" "name" .name "ctx" .ctx) | nindent 2 }}
{{- end }}
