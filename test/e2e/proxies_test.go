package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// packaged returns where a server is that comes with the system and not from `make e2e`.
func packaged(t *testing.T, name string) string {
	t.Helper()
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(file); err == nil {
			return path
		}
	}
	// On a developer's machine it may be missing.
	if os.Getenv("CI") == "" {
		t.Skipf("there is no %s here; Debian has it in a package of that name", name)
	}
	t.Fatalf("there is no %s", name)
	return ""
}

func addressOf(t *testing.T, target string) string {
	t.Helper()
	parsed, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Host
}

// startNginx starts an nginx whose one server has the locations, moved to where the collector is.
func startNginx(t *testing.T, locations, collector, readyPath string) *server {
	t.Helper()
	const port = "127.0.0.1:8550"
	if !strings.Contains(locations, "http://"+port+";") {
		t.Fatalf("it does not pass calls on to %s:\n%s", port, locations)
	}
	path, directory, address := packaged(t, "nginx"), t.TempDir(), fixedAddress(t)
	config := "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {}\nhttp {\n    access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config += kind + "_temp_path " + kind + ";\n"
	}
	config += "server {\nlisten " + address + ";\n" + strings.ReplaceAll(locations, port, collector) + "}\n}\n"
	file := filepath.Join(directory, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, "nginx", address, readyPath, nil, path, "-p", directory, "-c", file, "-e", "stderr")
}

// TestNginx has the nginx of the documentation pass signed calls on while the collector is restarted. As soon as the
// collector answers again, so has nginx to.
func TestNginx(t *testing.T) {
	const page, connections, enough = root + "/docs/webhook.md", 4, 200
	content, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var locations []string
	for _, b := range blocksOf(t, page, string(content)) {
		if b.language == "nginx" {
			locations = append(locations, b.text)
		}
	}
	if len(locations) != 1 {
		t.Fatalf("%s has %d nginx configurations", page, len(locations))
	}

	names := startNameServer(t)
	names.set(goodName, texts(keyRecord(t, goodKey(t))))
	d := newDeployment(t, &sink{})
	d.environment = append(d.environment,
		"RESOLVER="+names.address, "RECORDS="+filepath.Join(t.TempDir(), "records.jsonl"))
	d.args = []string{"--config", "testdata/signature.yaml"}
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	proxy := startNginx(t, locations[0], addressOf(t, d.failuresURL), "/smtpeter-1a2b3c.txt")

	// Each connection repeats a call of its own, over and over.
	var (
		workers             sync.WaitGroup
		restarted, over     atomic.Bool
		taken, lost, failed atomic.Int64
	)
	for range connections {
		call := newSignedCall(goodKey(t), "nginx")
		call.sign(t)
		workers.Go(func() {
			for !over.Load() {
				w, err := dial(addressOf(t, proxy.url))
				if err != nil {
					t.Error(err)
					return
				}
				for err == nil && !over.Load() {
					begun := restarted.Load()
					var got reply
					got, err = w.exchange(call.raw())
					switch {
					case got.status == http.StatusOK:
						taken.Add(1)
					case begun:
						failed.Add(1)
					default:
						lost.Add(1)
					}
				}
				_ = w.Close()
			}
		})
	}
	defer workers.Wait()
	defer over.Store(true)

	await := func(what string, condition func() bool) {
		t.Helper()
		proxy.eventually(t, deadline, what, func() error {
			if !condition() {
				return fmt.Errorf("%d calls were taken, %d lost during the restart, %d after it", taken.Load(), lost.Load(), failed.Load())
			}
			return nil
		})
	}
	await("calls are taken", func() bool { return taken.Load() >= enough })
	if n := lost.Load(); n > 0 {
		t.Errorf("%d calls were lost before the restart", n)
	}
	if err := d.terminate(t.Context()); err != nil {
		t.Fatal(err)
	}
	await("calls are lost", func() bool { return lost.Load() >= connections })
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	restarted.Store(true)
	before := taken.Load()
	await("calls are taken again", func() bool { return taken.Load() >= before+enough })
	if n := failed.Load(); n > 0 {
		t.Errorf("%d calls were lost after the collector answered again", n)
	}
}
