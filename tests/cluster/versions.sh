# shellcheck shell=bash disable=SC2034
# What the cluster is made of. `lib.sh` reads it.
GO=1.26.8
KUBERNETES=1.37.2 # also in kube/go.mod: run kube/gomod.sh after changing it
CONTAINERD=v2.4.2
RUNC=v1.5.2
CNI_PLUGINS=v1.9.1
KWOK=v0.8.0
# CoreDNS and the registry: see addons/go.mod
