package e2e

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var packages = flag.Bool("packages", false, "check, install and start what `make snapshot` has made in dist/")

const dist = root + "/dist"

// made returns the files of the release whose names match, of which there has to be one.
func made(t *testing.T, pattern string) []string {
	t.Helper()
	if !*packages {
		t.Skip("make packages runs it, after make snapshot")
	}
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("there is no %s in dist/ (%v): run `make snapshot` first", pattern, err)
	}
	return found
}

// TestRelease looks at the files that a release consists of: their checksums, what the archives hold, and the bills of materials.
func TestRelease(t *testing.T) {
	sums := readFile(t, made(t, "SHA256SUMS")[0])
	released := 0
	for _, file := range made(t, "otelcol-smtpfailure_*") {
		want := fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(readFile(t, file))), filepath.Base(file))
		if !strings.Contains(sums, want) {
			t.Errorf("SHA256SUMS does not have %s", want)
		}
		released++
	}
	if lines := strings.Count(sums, "\n"); lines != released {
		t.Errorf("SHA256SUMS has %d lines for %d files", lines, released)
	}

	archives := slices.Concat(made(t, "*.tar.gz"), globbed(t, "*.zip"))
	for _, archive := range archives {
		platform := strings.TrimSuffix(strings.TrimSuffix(archive, ".zip"), ".tar.gz")
		t.Run(filepath.Base(archive), func(t *testing.T) {
			checkArchive(t, archive, filepath.Base(platform))
			checkBillOfMaterials(t, archive, platform+".cdx.json")
		})
		if strings.Contains(platform, "_linux_") {
			for _, suffix := range []string{".deb", ".rpm"} {
				if _, err := os.Stat(platform + suffix); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func checkArchive(t *testing.T, archive, folder string) {
	names := filesIn(t, archive)
	program := "otelcol-smtpfailure"
	if strings.Contains(folder, "_windows_") {
		program += ".exe"
	}
	want := []string{
		program, "LICENSE", "README.md", "CHANGELOG.md", "config.yaml", "THIRD_PARTY_LICENSES/go/LICENSE",
		"THIRD_PARTY_LICENSES/go.opentelemetry.io/collector/pdata/LICENSE",
	}
	if strings.Contains(folder, "_linux_") {
		want = append(want, "systemd/otelcol-smtpfailure.service", "systemd/environment", "systemd/config.yaml", "systemd/sysusers.conf")
	}
	for _, name := range want {
		if _, ok := names[folder+"/"+name]; !ok {
			t.Errorf("it has no %s", name)
		}
	}
}

// filesIn returns the files in an archive, by name.
func filesIn(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	if strings.HasSuffix(archive, ".zip") {
		packed, err := zip.OpenReader(archive)
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		for _, file := range packed.File {
			opened, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			if files[file.Name], err = io.ReadAll(opened); err != nil {
				t.Fatal(err)
			}
			opened.Close()
		}
		return files
	}
	compressed, err := gzip.NewReader(strings.NewReader(readFile(t, archive)))
	if err != nil {
		t.Fatal(err)
	}
	for packed := tar.NewReader(compressed); ; {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(packed); err != nil {
			t.Fatal(err)
		}
	}
}

// checkBillOfMaterials compares a bill of materials with what the linker wrote into the binary of the archive.
func checkBillOfMaterials(t *testing.T, archive, bill string) {
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Ref                 string `json:"bom-ref"`
			Name, Version, Purl string
			Type                string
			Evidence            struct{ Licenses []any }
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, bill)), &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion == "" || bom.Metadata.Component.Name == "" || bom.Metadata.Component.Version == "" {
		t.Errorf("the bill is headed %q %q %+v", bom.BOMFormat, bom.SpecVersion, bom.Metadata)
	}
	versions, refs := make(map[string]string), make(map[string]bool)
	for _, component := range bom.Components {
		if component.Type != "library" || !strings.HasPrefix(component.Purl, "pkg:golang/") || component.Version == "" || refs[component.Ref] {
			t.Errorf("the bill lacks something of %+v", component)
		}
		versions[component.Name], refs[component.Ref] = component.Version, true
	}
	for _, dependency := range bom.Dependencies {
		for _, ref := range dependency.DependsOn {
			if !refs[ref] {
				t.Errorf("%s depends on %s, which is not in the bill", dependency.Ref, ref)
			}
		}
	}

	for name, content := range filesIn(t, archive) {
		if base := filepath.Base(name); base != "otelcol-smtpfailure" && base != "otelcol-smtpfailure.exe" {
			continue
		}
		info, err := buildinfo.Read(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if versions["std"] != info.GoVersion {
			t.Errorf("the bill has Go's library %q, not %q", versions["std"], info.GoVersion)
		}
		for _, module := range info.Deps {
			if module.Replace == nil && versions[module.Path] != module.Version {
				t.Errorf("the bill has %s %q, not %q", module.Path, versions[module.Path], module.Version)
			}
		}
		return
	}
	t.Error("there is no binary in the archive")
}

// TestPackage installs the deb in a root of its own and starts what the unit starts, as the user that the package makes.
func TestPackage(t *testing.T) {
	deb := made(t, "*_linux_"+runtime.GOARCH+".deb")[0]
	folder := t.TempDir()
	database := folder + "/var/lib/dpkg"
	for _, directory := range []string{database + "/info", database + "/updates", folder + "/etc", folder + "/tmp"} {
		if err := os.MkdirAll(directory, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The user may look into it.
	for path := folder; path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// What the package depends on is taken from this machine.
	write(t, database+"/status", "Package: systemd\nStatus: install ok installed\nMaintainer: nobody\nArchitecture: all\nVersion: 252\nDescription: stands for this machine's\n\n")
	succeed(t, "dpkg", "--root="+folder, "--log=/dev/null", "--force-script-chrootless", "--install", deb)

	if mode := modeOf(t, folder+"/etc/otelcol-smtpfailure/environment"); mode != 0o600 {
		t.Errorf("the environment file has the mode %o", mode)
	}
	installed := readFile(t, folder+"/usr/lib/systemd/system/otelcol-smtpfailure.service")
	user := settingOf(t, installed, "User")
	credential := credentialOf(t, folder, user)

	state := "/var/lib/otelcol-smtpfailure"
	if err := os.MkdirAll(folder+state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(folder+state, int(credential.Uid), int(credential.Gid)); err != nil {
		t.Fatal(err)
	}
	environment := append(environmentFile(t, folder+settingOf(t, installed, "EnvironmentFile")), "STATE_DIRECTORY="+state)
	as := func(setting string) *exec.Cmd {
		line := strings.Fields(os.Expand(settingOf(t, installed, setting), func(name string) string { return valueIn(environment, name) }))
		command := exec.Command(line[0], line[1:]...)
		command.Env = environment
		command.Dir = "/"
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: folder, Credential: credential}
		return command
	}
	if output, err := as("ExecStartPre").CombinedOutput(); err != nil {
		t.Fatalf("ExecStartPre: %v\n%s", err, output)
	}
	var log output
	command := as("ExecStart")
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	waitFor(t, &log, "health_check answers", func() bool {
		status, _ := call(http.MethodGet, "http://127.0.0.1:13133")
		return status == http.StatusOK
	})
	if status, _ := call(http.MethodPost, "http://"+valueIn(environment, "LISTEN")+"/failures"); status != http.StatusUnauthorized {
		t.Errorf("an unsigned call was answered with %d", status)
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}

	succeed(t, "dpkg", "--root="+folder, "--log=/dev/null", "--force-script-chrootless", "--purge", "otelcol-smtpfailure")
	if _, err := os.Stat(folder + "/usr/bin/otelcol-smtpfailure"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the binary is there after the package was removed: %v", err)
	}
}

// settingOf returns the value of a setting that a unit has once.
func settingOf(t *testing.T, content, name string) string {
	t.Helper()
	var values []string
	for line := range strings.Lines(content) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			values = append(values, value)
		}
	}
	if len(values) != 1 {
		t.Fatalf("the unit has %s=%q", name, values)
	}
	return values[0]
}

func modeOf(t *testing.T, path string) os.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// credentialOf returns the ids of an account in another root.
func credentialOf(t *testing.T, folder, user string) *syscall.Credential {
	t.Helper()
	for line := range strings.Lines(readFile(t, folder+"/etc/passwd")) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] != user {
			continue
		}
		uid, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || uid == 0 {
			t.Fatalf("the account is %s: %v", line, err)
		}
		gid, err := strconv.ParseUint(fields[3], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	t.Fatalf("the package made no account %s", user)
	return nil
}

// waitFor waits until it is so, and fails with what was logged if it does not come to be.
func waitFor(t *testing.T, log *output, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s\n%s", deadline, what, log.String())
		}
	}
}

// TestImage builds the image around the release's binary and runs it as an engine would: its command as its user, its health check, the README's
// call, and SIGTERM. Under chroot isolation it shares this machine's network.
func TestImage(t *testing.T) {
	made(t, "linux-"+runtime.GOARCH+"_linux_*")
	folder := t.TempDir()
	buildah := func(args ...string) *exec.Cmd {
		store := []string{"--root", folder + "/root", "--runroot", folder + "/run", "--storage-driver", "vfs"}
		command := exec.Command("buildah", append(store, args...)...)
		command.Dir = root
		return command
	}
	prints := func(args ...string) string {
		t.Helper()
		output, err := buildah(args...).CombinedOutput()
		if err != nil {
			t.Fatalf("buildah %s: %v\n%s", args, err, output)
		}
		return strings.TrimSpace(string(output))
	}
	version := strings.TrimSpace(readFile(t, root+"/build/version"))
	prints("bud", "--isolation", "chroot", "--format", "docker", "--build-arg", "VERSION="+version, "--tag", "release", ".")
	for _, other := range []string{"amd64", "arm64"} {
		if other != runtime.GOARCH && len(globbed(t, "linux-"+other+"_linux_*")) > 0 {
			prints("bud", "--isolation", "chroot", "--format", "docker", "--platform", "linux/"+other, "--tag", other, ".")
		}
	}
	container := prints("from", "release")
	t.Cleanup(func() { prints("rm", container) })

	var inspected struct {
		Docker struct {
			Config struct {
				User            string
				Entrypoint, Cmd []string
				Labels          map[string]string
				Healthcheck     struct{ Test []string }
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(prints("inspect", container)), &inspected); err != nil {
		t.Fatal(err)
	}
	config := inspected.Docker.Config
	if len(config.Healthcheck.Test) != 2 || config.Healthcheck.Test[0] != "CMD" {
		t.Fatalf("its health check is %q; there is no shell in the image", config.Healthcheck.Test)
	}
	if got := config.Labels["org.opencontainers.image.version"]; got != version {
		t.Errorf("its version is labelled %q", got)
	}

	run := func(command ...string) *exec.Cmd {
		return buildah(append([]string{"run", "--isolation", "chroot", container, "--"}, command...)...)
	}
	if output, err := run(config.Healthcheck.Test[1]).CombinedOutput(); err == nil {
		t.Errorf("the health check passes before it is started:\n%s", output)
	}
	var log output
	command := run(slices.Concat(config.Entrypoint, config.Cmd)...)
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	waitFor(t, &log, "its health check passes", func() bool { return run(config.Healthcheck.Test[1]).Run() == nil })

	process := processOf(t, command.Process.Pid, filepath.Base(config.Entrypoint[0]))
	if uid := fieldOf(t, process, "Uid"); uid+":"+fieldOf(t, process, "Gid") != config.User || uid == "0" {
		t.Errorf("it runs as %s, not as %s", uid, config.User)
	}
	for _, line := range listening(t, process) {
		if !strings.HasPrefix(line, "0100007F:") {
			t.Errorf("it listens on %s before its owner has said so", line)
		}
	}

	output, err := exec.Command("sh", root+"/examples/quickstart/send.sh").Output()
	if err != nil || !bytes.HasPrefix(output, []byte("HTTP/1.1 200 ")) {
		t.Errorf("the README's call: %v\n%s", err, output)
	}
	if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, log.String())
	}
	for _, want := range []string{"EventName: email.delivery.failed", "Shutdown complete."} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, log.String())
		}
	}
}

// processOf returns the process below another one whose program has the name.
func processOf(t *testing.T, ancestor int, name string) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range processes {
		program, err := os.Readlink(link)
		if err != nil || filepath.Base(program) != name {
			continue
		}
		process, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			t.Fatal(err)
		}
		for parent := process; parent > 1; {
			if parent == ancestor {
				return process
			}
			if parent, err = strconv.Atoi(fieldOf(t, parent, "PPid")); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Fatalf("process %d has no child %s", ancestor, name)
	return 0
}

// fieldOf returns the first value of a line in a process's status.
func fieldOf(t *testing.T, process int, name string) string {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/status", process))) {
		if values, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(values)[0]
		}
	}
	t.Fatalf("process %d has no %s", process, name)
	return ""
}

// listening returns the local addresses on which a process listens, as the kernel writes them.
func listening(t *testing.T, process int) []string {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", process)
	files, err := filepath.Glob(folder + "fd/*")
	if err != nil {
		t.Fatal(err)
	}
	sockets := make(map[string]bool)
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			sockets[target] = true
		}
	}
	var addresses []string
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		for line := range strings.Lines(readFile(t, folder+table)) {
			const listens = "0A"
			fields := strings.Fields(line)
			if fields[3] == listens && sockets["socket:["+fields[9]+"]"] {
				addresses = append(addresses, fields[1])
			}
		}
	}
	if len(addresses) == 0 {
		t.Error("it listens on nothing")
	}
	return addresses
}
