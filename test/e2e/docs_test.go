package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// block is a fenced block of a page.
type block struct {
	page     string
	line     int
	language string
	text     string
	// directives are what HTML comments right above it say, which a reader does not see. There are these:
	//
	//	not run: REASON          it cannot be run here
	//	collector: FILE          its commands are for a collector with this configuration; the quickstart's otherwise
	//	flags: FLAGS             what the distribution has to be given to take the configuration
	directives map[string]string
}

func (b *block) String() string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(b.page, root+"/"), b.line)
}

var directive = regexp.MustCompile(`^<!-- (not run|collector|flags): (.+) -->$`)

// blocks returns the fenced blocks of the README and of all that it leads to, and what stands in backticks within the text as commands
// that call the collector.
func blocks(t *testing.T) []*block {
	t.Helper()
	var pages []string
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	var all []*block
	for _, page := range pages {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, blocksOf(t, page, string(content))...)
	}
	if len(all) == 0 {
		t.Fatal("no page has a fenced block")
	}
	return all
}

var inlineCall = regexp.MustCompile("`(curl [^`]+)`")

func blocksOf(t *testing.T, page, content string) []*block {
	t.Helper()
	var all []*block
	var open *block
	directives := make(map[string]string)
	number := 0
	for line := range strings.Lines(content) {
		number++
		text := strings.TrimSpace(line)
		fence, isFence := strings.CutPrefix(text, "```")
		switch {
		case isFence && open == nil:
			open = &block{page: page, line: number, language: fence, directives: directives}
			directives = make(map[string]string)
		case isFence:
			all = append(all, open)
			open = nil
		case open != nil:
			open.text += line
		case directive.MatchString(text):
			match := directive.FindStringSubmatch(text)
			directives[match[1]] = match[2]
		default:
			if len(directives) > 0 {
				t.Errorf("%s:%d: there is no fenced block right below the comment", page, number)
				clear(directives)
			}
			for _, call := range inlineCall.FindAllStringSubmatch(text, -1) {
				all = append(all, &block{page: page, line: number, language: "sh", text: call[1] + "\n"})
			}
		}
	}
	if open != nil {
		t.Errorf("%s has no end", open)
	}
	return all
}

// looksLikeACommand is the beginning of a block that should say that it is sh.
var looksLikeACommand = regexp.MustCompile(`^(\$ |curl |make |go |cd |bin/|docker |helm |kubectl |sudo )`)

// TestDocumentation runs what the pages tell the reader to run, and checks the configurations that they show.
func TestDocumentation(t *testing.T) {
	shells := &shells{folder: checkout(t), data: t.TempDir(), collectors: make(map[string]*documented)}
	t.Cleanup(shells.close)
	for _, b := range blocks(t) {
		t.Run(b.String(), func(t *testing.T) {
			if _, ok := b.directives["not run"]; ok {
				return
			}
			switch b.language {
			case "sh":
				shells.run(t, b)
			case "yaml":
				checkYAML(t, b)
			case "promql":
				requireBinary(t, promtoolBinary)
				succeed(t, promtoolBinary, "promql", "format", "--experimental", b.text)
			case "nginx":
				// TestNginx runs it.
			case "", "text", "json", "mermaid":
				// What something prints, or a picture.
				if looksLikeACommand.MatchString(b.text) {
					t.Errorf("%s is a command: say so (```sh)", b)
				}
			default:
				t.Errorf("%s: nothing here runs %q; if nothing can, say why in a comment above it, <!-- not run: … -->", b, b.language)
			}
		})
	}
}

// checkout returns a folder that looks like the repository to a command, but keeps what the command writes.
func checkout(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.Name() == "data" || entry.Name() == ".git" {
			continue
		}
		target, err := filepath.Abs(filepath.Join(root, entry.Name()))
		if err == nil {
			err = os.Symlink(target, filepath.Join(folder, entry.Name()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// shells runs commands in a folder, beside collectors that are started when a block first needs them.
type shells struct {
	folder, data string
	collectors   map[string]*documented
}

func (s *shells) close() {
	for _, c := range s.collectors {
		c.kill()
	}
}

// documented is a collector as a page has it, on other ports.
type documented struct {
	*collector
	ports *strings.Replacer
}

// quickstart is what the commands of the pages are for unless they say something else.
const quickstart = "examples/quickstart/config.yaml"

// attempt is how long one block may take, and patience how long it is tried again, because counters take a moment to show.
const (
	attempt  = 20 * time.Second
	patience = 10 * time.Second
)

// changesThings is a command that builds in the repository, or does something to the machine.
var changesThings = regexp.MustCompile(`(?m)^\s*(make|go|git|docker|helm|kubectl|sudo|apt-get|systemctl)\b`)

func (s *shells) run(t *testing.T, b *block) {
	t.Helper()
	text := b.text
	if command := changesThings.FindString(text); command != "" {
		t.Fatalf("%s: %s is not for a test to run; say so in a comment above it, <!-- not run: … -->", b, strings.TrimSpace(command))
	}
	if strings.Contains(text, "localhost:") {
		config := b.directives["collector"]
		if config == "" {
			config = quickstart
		}
		c := s.collectors[config]
		if c == nil {
			c = s.start(t, config)
		}
		text = c.ports.Replace(text)
	}
	home := t.TempDir()
	// An answer that is an error is a failure.
	if err := os.WriteFile(filepath.Join(home, ".curlrc"), []byte("fail-with-body\nmax-time = 10\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), attempt)
		command := exec.CommandContext(ctx, "sh", "-e", "-u", "-c", text)
		command.Dir = s.folder
		// What the shell has started ends with it.
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
		command.WaitDelay = time.Second
		command.Env = append(os.Environ(), "CURL_HOME="+home)
		output, err := command.CombinedOutput()
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%v\n%s\nran:\n%s", err, output, text)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// start starts the distribution with a configuration of the repository, on ports of its own.
func (s *shells) start(t *testing.T, config string) *documented {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, config))
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(s.data, filepath.Base(filepath.Dir(config)))
	reports, counters, telemetry := freeAddress(t), freeAddress(t), freeAddress(t)
	args := []string{
		"--config", filepath.Join(root, config),
		"--set", "receivers::smtp_failure::http::endpoint=" + reports,
		"--set", "receivers::smtp_failure::aggregation::interval=200ms",
		"--set", "service::telemetry::metrics::readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: " + port(t, telemetry) + "}}}}]",
	}
	if strings.Contains(string(content), "localhost:9464") {
		args = append(args, "--set", "exporters::prometheus::endpoint="+counters)
	}
	if strings.Contains(string(content), "data/failures.jsonl") {
		args = append(args, "--set", "exporters::file::path="+filepath.Join(data, "failures.jsonl"))
	}
	started, err := launch([]string{"STORAGE_DIRECTORY=" + filepath.Join(data, "storage")}, args...)
	if err != nil {
		t.Fatal(err)
	}
	c := &documented{
		collector: started,
		ports:     strings.NewReplacer("localhost:8550", reports, "localhost:9464", counters, "localhost:8888", telemetry),
	}
	s.collectors[config] = c
	c.eventually(t, config+" answers", func() bool {
		response, err := http.Get("http://" + reports)
		if err != nil {
			return false
		}
		return response.Body.Close() == nil
	})
	return c
}

var (
	topKey = regexp.MustCompile(`(?m)^([A-Za-z_][\w.]*):`)

	collectorKeys = []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"}
	receiverKeys  = []string{
		"http", "path", "ownership_files", "signature", "recipient", "timezone", "resource_attributes", "causes", "tags", "count_by", "aggregation",
		"deduplication", "storage", "metrics",
	}
)

// rest is what a part of a configuration is completed with.
const rest = `
receivers: {smtp_failure: }
exporters: {debug: }
service: {pipelines: {logs: {receivers: [smtp_failure], exporters: [debug]}, metrics: {receivers: [smtp_failure], exporters: [debug]}}}
`

// checkYAML has the program check a configuration that it is for.
func checkYAML(t *testing.T, b *block) {
	t.Helper()
	var keys []string
	for _, match := range topKey.FindAllStringSubmatch(b.text, -1) {
		keys = append(keys, match[1])
	}
	only := func(known []string) bool {
		return len(keys) > 0 && !slices.ContainsFunc(keys, func(key string) bool { return !slices.Contains(known, key) })
	}
	switch {
	case strings.Contains(b.text, "- gomod: "):
		checkManifest(t, b)
	case only(collectorKeys):
		if strings.Contains(b.text, "pipelines:") && slices.Contains(keys, "receivers") && slices.Contains(keys, "exporters") {
			checkCollector(t, b, b.text)
			return
		}
		checkCollector(t, b, rest, b.text)
	case only(receiverKeys):
		checkCollector(t, b, rest, "receivers:\n  smtp_failure:\n"+indented(b.text))
	case slices.Contains(keys, "scrape_configs"):
		// Whether the files that it names are there is for those who run it to see.
		requireBinary(t, promtoolBinary)
		succeed(t, promtoolBinary, "check", "config", "--syntax-only", written(t, b.text))
	case slices.Contains(keys, "groups"):
		requireBinary(t, promtoolBinary)
		succeed(t, promtoolBinary, "check", "rules", written(t, b.text))
	default:
		t.Errorf("%s: nothing here checks the keys %v; if nothing can, say why in a comment above it, <!-- not run: … -->", b, keys)
	}
}

func indented(text string) string {
	return "    " + strings.TrimRight(strings.ReplaceAll(text, "\n", "\n    "), " ")
}

// checkCollector has the distribution check a configuration in one or more parts.
func checkCollector(t *testing.T, b *block, parts ...string) {
	t.Helper()
	args := []string{"validate"}
	for _, part := range parts {
		args = append(args, "--config", written(t, part))
	}
	succeed(t, binary, append(args, strings.Fields(b.directives["flags"])...)...)
}

// checkManifest has ocb make the sources of a collector from a manifest, which it does without a network.
func checkManifest(t *testing.T, b *block) {
	t.Helper()
	builder := root + "/.tools/builder"
	requireBinary(t, builder)
	manifest := b.text
	folder := t.TempDir()
	if !strings.HasPrefix(manifest, "dist:") && !strings.Contains(manifest, "\ndist:") {
		manifest += "dist:\n  name: documented\n  output_path: " + folder + "\n"
	}
	succeed(t, builder, "--config", written(t, manifest), "--skip-compilation", "--skip-get-modules")
	components, err := os.ReadFile(filepath.Join(folder, "components.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(components), "/receiver/smtpfailurereceiver\"") {
		t.Errorf("%s makes a collector without the receiver", b)
	}
}

// written returns the name of a file with the text.
func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "documented.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func succeed(t *testing.T, name string, args ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), "RECIPIENT_KEY=0123456789abcdef")
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", filepath.Base(name), err, output)
	}
}
