#!/usr/bin/env bash
# An admission webhook of bash and openssl, for a pod of localhost/debian:1: it labels every object with webhook=served.
# One connection at a time: it reads one request, answers it, and closes.
patch=$(printf '[{"op":"add","path":"/metadata/labels","value":{"webhook":"served"}}]' | base64 -w0)

answer() {
	local line length=0 body uid response
	while IFS= read -r line && line=${line%$'\r'} && [ -n "$line" ]; do
		case ${line,,} in content-length:*) length=${line#*: } ;; esac
	done
	[ "$length" -gt 0 ] || return
	IFS= read -r -N "$length" body
	uid=$(grep -o '"uid":"[^"]*"' <<<"$body" | head -n 1)
	response="{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{$uid,\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"$patch\"}}"
	printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' "${#response}" "$response"
}

while :; do
	coproc tls { openssl s_server -quiet -accept 8443 -naccept 1 -cert /tls/tls.crt -key /tls/tls.key 2>/dev/null; }
	# shellcheck disable=SC2154 # coproc sets it
	pid=$tls_PID
	{ answer; sleep 0.1; kill "$pid"; } <&"${tls[0]}" >&"${tls[1]}" 2>/dev/null
	wait "$pid"
done
