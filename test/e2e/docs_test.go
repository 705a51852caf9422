package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// block is a fenced block of a page, or a command within its text.
type block struct {
	page           string
	line           int
	language, text string
	// directives are HTML comments right above it:
	//
	//	not run: REASON          it cannot be run here
	//	collector: FILE          the configuration of its collector, if not the quickstart
	//	flags: FLAGS             what the distribution has to be given to take the configuration
	directives map[string]string
}

func (b *block) String() string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(b.page, root+"/"), b.line)
}

var (
	directive  = regexp.MustCompile(`^<!-- (not run|collector|flags): (.+) -->$`)
	inlineCall = regexp.MustCompile("`(curl [^`]+)`")
)

// blocksOf returns the blocks of a page.
func blocksOf(t *testing.T, page string) (all []*block) {
	t.Helper()
	var open *block
	directives := make(map[string]string)
	number := 0
	for line := range strings.Lines(readFile(t, page)) {
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
			assert.Empty(t, directives, "%s:%d: there is no fenced block right below the comment", page, number)
			for _, match := range inlineCall.FindAllStringSubmatch(text, -1) {
				all = append(all, &block{page: page, line: number, language: "sh", text: match[1] + "\n"})
			}
		}
	}
	assert.Nil(t, open, "a block has no end")
	return all
}

var (
	// looksLikeACommand is the beginning of a block that should say that it is sh.
	looksLikeACommand = regexp.MustCompile(`^(\$ |curl |make |go |cd |bin/|docker |helm |kubectl |sudo )`)
	// changesThings is a command that builds in the repository, or does something to the machine.
	changesThings = regexp.MustCompile(`(?m)^\s*(make|go|git|docker|helm|kubectl|sudo|apt-get|systemctl)\b`)
)

// TestDocumentation runs what the pages tell the reader to run, and checks the configurations that
// they show.
func TestDocumentation(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"README.md", "CONTRIBUTING.md", "docs/*.md", "examples/*.md", "examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		pages = append(pages, found...)
	}
	shells := newShells(t)
	for _, page := range pages {
		for _, b := range blocksOf(t, page) {
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
					check(t, promtoolBinary, "promql", "format", "--experimental", b.text)
				case "nginx": // TestNginx runs it.
				case "", "text", "json", "mermaid":
					assert.False(t, looksLikeACommand.MatchString(b.text), "it is a command: say so (```sh)")
				default:
					t.Errorf("nothing runs %q; if nothing can, say why in a comment, <!-- not run: … -->", b.language)
				}
			})
		}
	}
}

// check runs a program that must exit with 0.
func check(t *testing.T, name string, args ...string) {
	t.Helper()
	run(t, exec.CommandContext(t.Context(), name, args...))
}

// shells runs commands in a folder that looks like the repository but keeps what they write, beside
// collectors that are started when a block first needs them.
type shells struct {
	t          *testing.T
	folder     string
	home       string
	collectors map[string]*collector
}

func newShells(t *testing.T) *shells {
	t.Helper()
	s := &shells{t: t, folder: t.TempDir(), collectors: make(map[string]*collector)}
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.Name() == "data" || entry.Name() == ".git" {
			continue
		}
		target, err := filepath.Abs(filepath.Join(root, entry.Name()))
		require.NoError(t, err)
		require.NoError(t, os.Symlink(target, filepath.Join(s.folder, entry.Name())))
	}
	// Makes curl fail on an error response.
	s.home = filepath.Dir(write(t, ".curlrc", "fail-with-body\nmax-time = 10\n"))
	return s
}

func (s *shells) run(t *testing.T, b *block) {
	t.Helper()
	require.NotRegexp(t, changesThings, b.text,
		"not for a test to run; say so in a comment above it, <!-- not run: … -->")
	text := b.text
	if strings.Contains(text, "localhost:") {
		config := b.directives["collector"]
		if config == "" {
			config = "examples/quickstart/config.yaml"
		}
		c := s.collectors[config]
		if c == nil {
			c = newCollector(s.t, nil, filepath.Join(root, config))
			c.set("receivers::smtp_failure::aggregation::interval=200ms").start(s.t)
			s.collectors[config] = c
		}
		text = strings.NewReplacer(
			"localhost:8550", c.address, "localhost:9464", c.counters, "localhost:8888", c.telemetry,
		).Replace(text)
	}
	// It is repeated, because counters take a moment to show.
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		output, err := s.runOnce(t, text)
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(limit), "%v\n%s\nran:\n%s", err, output, text)
	}
}

func (s *shells) runOnce(t *testing.T, text string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-e", "-u", "-c", text)
	command.Dir = s.folder
	// Kills what the shell has started too.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	command.Env = append(os.Environ(), "CURL_HOME="+s.home)
	return command.CombinedOutput()
}

var (
	topKey        = regexp.MustCompile(`(?m)^([A-Za-z_][\w.]*):`)
	collectorKeys = []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"}
	receiverKeys  = []string{
		"http", "path", "ownership_files", "signature", "recipient", "timezone", "resource_attributes", "causes",
		"tags", "count_by", "aggregation", "deduplication", "storage", "metrics",
	}
)

// rest is what a part of a configuration is completed with.
const rest = `
receivers: {smtp_failure: }
exporters: {debug: }
service:
  pipelines:
    logs: {receivers: [smtp_failure], exporters: [debug]}
    metrics: {receivers: [smtp_failure], exporters: [debug]}
`

// checkYAML has the program check a configuration that it is for.
func checkYAML(t *testing.T, b *block) {
	t.Helper()
	var keys []string
	for _, match := range topKey.FindAllStringSubmatch(b.text, -1) {
		keys = append(keys, match[1])
	}
	has := func(key string) bool { return slices.Contains(keys, key) }
	only := func(known []string) bool {
		return len(keys) > 0 && !slices.ContainsFunc(keys,
			func(key string) bool { return !slices.Contains(known, key) })
	}
	checkCollector := func(parts ...string) {
		var args []string
		for _, part := range parts {
			args = append(args, "--config", write(t, "part.yaml", part))
		}
		validate(t, []string{"RECIPIENT_KEY=0123456789abcdef"},
			append(args, strings.Fields(b.directives["flags"])...)...)
	}
	switch {
	case strings.Contains(b.text, "- gomod: "):
		checkManifest(t, b.text)
	case only(collectorKeys):
		// A whole configuration needs nothing of the rest.
		if strings.Contains(b.text, "pipelines:") && has("receivers") && has("exporters") {
			checkCollector(b.text)
		} else {
			checkCollector(rest, b.text)
		}
	case only(receiverKeys):
		indented := strings.TrimRight(strings.ReplaceAll(b.text, "\n", "\n    "), " ")
		checkCollector(rest, "receivers:\n  smtp_failure:\n    "+indented)
	case has("scrape_configs"):
		// The files that it names are not there.
		check(t, promtoolBinary, "check", "config", "--syntax-only", write(t, "prometheus.yaml", b.text))
	case has("groups"):
		check(t, promtoolBinary, "check", "rules", write(t, "rules.yaml", b.text))
	default:
		t.Errorf("nothing checks the keys %v; if nothing can, say why in a comment, <!-- not run: … -->", keys)
	}
}

// checkManifest has ocb make the sources of a collector from a manifest, which it does without a
// network.
func checkManifest(t *testing.T, manifest string) {
	t.Helper()
	folder := t.TempDir()
	if !strings.HasPrefix(manifest, "dist:") && !strings.Contains(manifest, "\ndist:") {
		manifest += "dist:\n  name: documented\n  output_path: " + folder + "\n"
	}
	check(t, root+"/.tools/builder", "--config", write(t, "manifest.yaml", manifest), "--skip-compilation",
		"--skip-get-modules")
	assert.Contains(t, readFile(t, folder+"/components.go"), "/receiver/smtpfailurereceiver\"")
}
