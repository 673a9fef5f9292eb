# shellcheck shell=bash disable=SC2034
# Sourced by every script here: where things are. Paths that depend on the environment:
#
#   ERGON_CACHE   what `build` makes (default: $XDG_CACHE_HOME/ergon or ~/.cache/ergon)
#   STATE         a running cluster's state (default: target/cluster in the repository)
#   CGROUP        the cgroup it runs its pods in (default: ergon-cluster)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/versions.sh"

CACHE=${ERGON_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ergon}/cluster
S=${STATE:-$(cd "$here/../.." && pwd)/target/cluster}
case $S in /*) ;; *) S=$PWD/$S ;; esac
CGROUP=${CGROUP:-ergon-cluster}

NODE=node1
NODE_IP=10.42.0.1 # the pod bridge's address: node, API server, DNS and registry as pods see them
POD_CIDR=10.42.0.0/16
SERVICE_CIDR=10.96.0.0/16
API=https://127.0.0.1:6443
REGISTRY=127.0.0.1:5000
BRIDGE=ergon-pods
LOCK=/run/lock/ergon-cluster # one `up` or `down` at a time

# Each part has a folder of its own in the cache, named by its version or by a hash of what it is made from.
digest() { cat "$@" | sha256sum | cut -c1-12; }
kube_dir=$CACHE/kube-$KUBERNETES-$(digest "$here"/kube/{main.go,go.mod,go.sum})
addons_dir=$CACHE/addons-$(digest "$here"/addons/{*.go,go.mod,go.sum})
containerd_dir=$CACHE/containerd-$CONTAINERD
runc_dir=$CACHE/runc-$RUNC
cni_dir=$CACHE/cni-$CNI_PLUGINS
kwok_dir=$CACHE/kwok-$KWOK
images_dir=$CACHE/images-$(digest "$here"/{images,mkimage,pause.c})
PATH=$kube_dir:$addons_dir:$containerd_dir:$runc_dir:$PATH:/usr/sbin:/sbin

say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }

# alive PID STARTTIME: whether that very process lives, not a later one of the same number.
alive() { [ "$(cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null)" = "$2" ]; }

# running NAME: whether the component that `up` started under this name lives.
running() {
	local pid start
	read -r pid start 2>/dev/null <"$S/pid/$1" && alive "$pid" "$start"
}

# launch NAME COMMAND...: in the background, with its log and "pid starttime" under $S.
launch() {
	local name=$1
	shift
	setsid "$@" >"$S/log/$name" 2>&1 </dev/null 9>&- &
	echo "$! $(cut -d' ' -f22 "/proc/$!/stat")" >"$S/pid/$name"
}

# stop NAME...: at once, since their state goes too.
stop() {
	local name pid
	for name; do
		running "$name" && read -r pid _ <"$S/pid/$name" && kill -KILL "$pid"
	done
	for name; do
		while running "$name"; do sleep 0.02; done
	done
}

# need PACKAGE...: installs the Debian packages that are missing.
need() {
	local missing=() package
	for package; do
		dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || die "not a Debian system: install what these packages have: ${missing[*]}"
	[ "$(id -u)" = 0 ] || die "packages are missing. Run: sudo apt-get install --no-install-recommends ${missing[*]}"
	say "installs Debian packages: ${missing[*]}"
	{
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -o Dpkg::Use-Pty=0 --no-install-recommends "${missing[@]}" >/dev/null
	} >&2
}
