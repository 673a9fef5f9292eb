# shellcheck shell=bash disable=SC2034
# Sourced by the scripts here: where things are.
compat=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cluster=$compat/../cluster
. "$cluster/lib.sh"

CRANE=v0.22.1 # as the registry's module in ../cluster/addons/go.mod
TEKTON=v1.15.0 # whose examples are run when no other manifests are given
compat_dir=$CACHE/compat-$(digest "$compat/images" "$compat"/image/* "$cluster/mkimage" "$cluster/versions.sh" <(echo $CRANE))

# The names under which the manifests look for registries, git hosts and hubs.
SITES=(
	mirror.gcr.io gcr.io ghcr.io cgr.dev docker.io index.docker.io registry-1.docker.io
	github.com raw.githubusercontent.com artifacthub.io api.hub.tekton.dev
)
