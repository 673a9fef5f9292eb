package main

import (
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// serveRegistry answers image pulls and pushes over plain HTTP. Blobs are files, manifests are in memory.
func serveRegistry(args []string) error {
	flags := flag.NewFlagSet("registry", flag.ExitOnError)
	addresses := flags.String("addresses", "127.0.0.1:5000", "addresses to listen on, with commas between them")
	dir := flags.String("dir", "", "folder for the blobs")
	_ = flags.Parse(args)
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	server := http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: keepPrivate(registry.New(
			registry.WithBlobHandler(registry.NewDiskBlobHandler(*dir)),
			registry.WithReferrersSupport(true),
			registry.Logger(log.Default()),
		)),
	}
	ended := make(chan error)
	for _, address := range strings.Split(*addresses, ",") {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		go func() { ended <- server.Serve(listener) }()
	}
	return <-ended
}

// keepPrivate asks for a password for the repositories below `private/`.
func keepPrivate(registry http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		user, password, _ := request.BasicAuth()
		if strings.HasPrefix(request.URL.Path, "/v2/private/") && (user != "robot" || password != "token") {
			answer.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			answer.WriteHeader(http.StatusUnauthorized)
			return
		}
		registry.ServeHTTP(answer, request)
	})
}
