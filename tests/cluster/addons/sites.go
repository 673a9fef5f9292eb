package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The longest request to the git server: it needs to know how long one is.
const longestRequest = 64 << 20

// The registries whose names the cluster's registry keeps below their host.
var registries = map[string]string{
	"mirror.gcr.io": "mirror.gcr.io", "gcr.io": "gcr.io", "ghcr.io": "ghcr.io", "cgr.dev": "cgr.dev",
	"docker.io": "docker.io", "index.docker.io": "docker.io", "registry-1.docker.io": "docker.io",
}

// sites are the hosts outside the cluster that manifests reach for, in one server: registries, a git host, a host of
// raw files and two hubs. What they serve besides images comes from a folder of repositories, OWNER/NAME/FILES.
type sites struct {
	content  string // that folder
	git      http.Handler
	registry *httputil.ReverseProxy
}

// serveSites answers for the sites over HTTPS, and over plain HTTP alike.
func serveSites(args []string) error {
	flags := flag.NewFlagSet("sites", flag.ExitOnError)
	address := flags.String("address", "127.0.0.1", "address to listen on, at ports 80 and 443")
	certificate := flags.String("certificate", "", "certificate for all of their names")
	key := flags.String("key", "", "its key")
	upstream := flags.String("registry", "http://127.0.0.1:5000", "the registry with the images of all registries")
	content := flags.String("content", "", "folder of the repositories' files, OWNER/NAME/FILES")
	repositories := flags.String("repositories", "", "folder of the repositories themselves, OWNER/NAME.git")
	_ = flags.Parse(args)

	target, err := url.Parse(*upstream)
	if err != nil {
		return err
	}
	programs, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return err
	}
	server := http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: &sites{
			content: *content,
			git: &cgi.Handler{
				Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"),
				Env:  []string{"GIT_PROJECT_ROOT=" + *repositories, "GIT_HTTP_EXPORT_ALL=1"},
			},
			registry: proxyTo(target),
		},
	}
	ended := make(chan error)
	for _, port := range []string{"80", "443"} {
		listener, err := net.Listen("tcp", net.JoinHostPort(*address, port))
		if err != nil {
			return err
		}
		if port == "443" {
			go func() { ended <- server.ServeTLS(listener, *certificate, *key) }()
		} else {
			go func() { ended <- server.Serve(listener) }()
		}
	}
	log.Print("sites: serving")
	return <-ended
}

func (s *sites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	log.Printf("%s %s%s", r.Method, r.Host, r.URL)
	host, _, _ := strings.Cut(r.Host, ":")
	switch host {
	case "github.com":
		s.serveGit(w, r)
	case "raw.githubusercontent.com":
		s.serveRaw(w, r)
	case "artifacthub.io":
		s.serveArtifactHub(w, r)
	case "api.hub.tekton.dev":
		s.serveTektonHub(w, r)
	default:
		if _, known := registries[host]; !known {
			http.Error(w, "no site of that name", http.StatusMisdirectedRequest)
			return
		}
		s.registry.ServeHTTP(w, r)
	}
}

// proxyTo answers for all registries from one, which has their host before each name.
func proxyTo(target *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			host, _, _ := strings.Cut(p.In.Host, ":")
			p.Out.Header.Set("X-Site", registries[host])
			if name, found := strings.CutPrefix(p.In.URL.Path, "/v2/"); found && name != "" {
				p.Out.URL.Path = "/v2/" + registries[host] + "/" + name
				p.Out.URL.RawPath = ""
			}
			p.SetURL(target)
		},
		ModifyResponse: func(r *http.Response) error {
			// Where to send an upload's content: under the name that the client knows.
			if location := r.Header.Get("Location"); location != "" {
				site := "/v2/" + r.Request.Header.Get("X-Site") + "/"
				r.Header.Set("Location", strings.Replace(location, site, "/v2/", 1))
			}
			return nil
		},
	}
}

// serveGit is git over HTTP, at OWNER/NAME and OWNER/NAME.git. Those of the owner `private` want a password.
func (s *sites) serveGit(w http.ResponseWriter, r *http.Request) {
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	if len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	if _, password, _ := r.BasicAuth(); parts[0] == "private" && password != "token" {
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		http.Error(w, "the password is `token`", http.StatusUnauthorized)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, longestRequest))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.URL.Path = "/" + parts[0] + "/" + strings.TrimSuffix(parts[1], ".git") + ".git/" + parts[2]
	s.git.ServeHTTP(w, r)
}

// serveRaw is a repository's file, at OWNER/NAME/BRANCH/PATH and OWNER/NAME/refs/heads/BRANCH/PATH.
func (s *sites) serveRaw(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if len(parts) > 5 && parts[2] == "refs" && parts[3] == "heads" {
		parts = append(parts[:2], parts[4:]...)
	}
	if len(parts) < 4 || (parts[2] != "main" && parts[2] != "master") {
		http.NotFound(w, r)
		return
	}
	text, err := s.file(append([]string{parts[0], parts[1]}, parts[3:]...)...)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text)
}

// file reads a file below the content's folder, whatever the path says.
func (s *sites) file(path ...string) ([]byte, error) {
	root, err := os.OpenRoot(s.content)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.ReadFile(filepath.Join(path...))
}

// versions are the versions of a catalogue's entry, which are its folders.
func (s *sites) versions(kind, name string) ([]string, error) {
	if filepath.Base(kind) != kind || filepath.Base(name) != name {
		return nil, errors.New("no such name")
	}
	entries, err := os.ReadDir(filepath.Join(s.content, "tektoncd", "catalog", kind, name))
	var versions []string
	for _, entry := range entries {
		versions = append(versions, entry.Name())
	}
	return versions, err
}

// serveArtifactHub is /api/v1/packages/tekton-KIND/CATALOG/NAME[/VERSION]. Its versions have three numbers.
func (s *sites) serveArtifactHub(w http.ResponseWriter, r *http.Request) {
	path, found := strings.CutPrefix(r.URL.Path, "/api/v1/packages/tekton-")
	parts := strings.Split(path, "/")
	if !found || len(parts) < 3 || !strings.HasPrefix(parts[1], "tekton-catalog-") {
		http.NotFound(w, r)
		return
	}
	kind, name := parts[0], parts[2]
	versions, err := s.versions(kind, name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if len(parts) == 3 {
		var available []any
		for _, version := range versions {
			available = append(available, map[string]any{"version": version + ".0", "prerelease": false})
		}
		answer(w, map[string]any{"version": versions[len(versions)-1] + ".0", "available_versions": available})
		return
	}
	text, err := s.file("tektoncd", "catalog", kind, name, strings.TrimSuffix(parts[3], ".0"), name+".yaml")
	if err != nil {
		http.NotFound(w, r)
		return
	}
	answer(w, map[string]any{"version": parts[3], "data": map[string]string{"manifestRaw": string(text)}})
}

// serveTektonHub is /v1/resource/CATALOG/KIND/NAME and /v1/resource/CATALOG/KIND/NAME/VERSION/yaml.
func (s *sites) serveTektonHub(w http.ResponseWriter, r *http.Request) {
	path, found := strings.CutPrefix(r.URL.Path, "/v1/resource/")
	parts := strings.Split(path, "/")
	if !found || len(parts) < 3 {
		http.NotFound(w, r)
		return
	}
	kind, name := parts[1], parts[2]
	versions, err := s.versions(kind, name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if len(parts) == 3 {
		var available []any
		for _, version := range versions {
			available = append(available, map[string]string{"version": version})
		}
		answer(w, map[string]any{"data": map[string]any{"versions": available}})
		return
	}
	text, err := s.file("tektoncd", "catalog", kind, name, parts[3], name+".yaml")
	if err != nil {
		http.NotFound(w, r)
		return
	}
	answer(w, map[string]any{"data": map[string]string{"yaml": string(text)}})
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
