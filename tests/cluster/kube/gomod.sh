#!/usr/bin/env bash
# Regenerates go.mod and go.sum for one Kubernetes version: ./gomod.sh 1.37.2
# A module that depends on k8s.io/kubernetes must itself point the k8s.io/* staging
# modules (v0.0.0 in its go.mod) at the published v0.MINOR.PATCH ones.
set -euo pipefail
cd "$(dirname "$0")"
version=${1:?version, such as 1.37.2}
staging=v0.${version#1.}
upstream=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
etcd=$(sed -n 's|^\tgo.etcd.io/etcd/client/v3 \(v[^ ]*\).*|\1|p' "$upstream")
{
	printf 'module ergon.test/kube\n\n%s\n\n' "$(grep '^go ' "$upstream")"
	printf 'require (\n\tgo.etcd.io/etcd/server/v3 %s\n\tk8s.io/component-base v0.0.0\n\tk8s.io/kubectl v0.0.0\n\tk8s.io/kubernetes v%s\n)\n\n' "$etcd" "$version"
	echo 'replace ('
	sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|\t\1 => \1 $staging|p" "$upstream"
	echo ')'
} >go.mod
rm -f go.sum
go mod tidy
