// Command addons is what a cluster needs besides Kubernetes itself, in one binary:
// the first argument names the part, the rest are that part's flags.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/coredns/coredns/coremain"

	// The CoreDNS plugins of a test cluster: all of them would bring three cloud SDKs along.
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if len(os.Args) < 2 {
		usage()
	}
	part, args := os.Args[1], os.Args[2:]
	var err error
	switch part {
	case "dns":
		os.Args = append(os.Args[:1], args...) // CoreDNS registered its flags globally
		coremain.Run()
	case "registry":
		err = serveRegistry(args)
	case "sites":
		err = serveSites(args)
	case "volumes":
		err = provisionVolumes(args)
	default:
		usage()
	}
	if err != nil {
		log.Fatalf("%s: %v", part, err)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: addons dns|registry|sites|volumes [FLAGS]")
	os.Exit(2)
}
