{{/* Words of networkpolicies.yaml. */}}
{{- define "seatrial.policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "seatrial.metadata" (dict "app" "seatrial" "name" .name "ctx" .ctx) | nindent 2 }}
{{- end }}

{{- define "seatrial.toServers" -}}
- to:
    - podSelector:
        matchLabels: {app: nats}
  ports:
    - {port: 4222}
- to:
    - podSelector:
        matchLabels: {app: valkey}
  ports:
    - {port: 6379}
    - {port: 26379}
{{- end }}

{{- define "seatrial.toAPI" -}}
- to:
    - podSelector:
        matchLabels: {app: api}
  ports:
    - {port: 8080}
{{- end }}
