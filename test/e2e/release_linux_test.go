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
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var packages = flag.Bool("packages", false, "check, install and start what `make snapshot` has made in dist/")

// releaseFiles returns the files of the release whose names match.
func releaseFiles(t *testing.T, pattern string) []string {
	t.Helper()
	if !*packages {
		t.Skip("make packages runs it, after make snapshot")
	}
	found, err := filepath.Glob(filepath.Join(root, "dist", pattern))
	require.NoError(t, err)
	return found
}

// releaseFile returns the first of them, which has to be there.
func releaseFile(t *testing.T, pattern string) string {
	t.Helper()
	found := releaseFiles(t, pattern)
	require.NotEmpty(t, found, "there is no %s in dist/: run `make snapshot` first", pattern)
	return found[0]
}

// TestRelease checks the files of a release: checksums, archives and bills of materials.
func TestRelease(t *testing.T) {
	sums := readFile(t, releaseFile(t, "SHA256SUMS"))
	released := releaseFiles(t, "otelcol-smtpfailure_*")
	for _, file := range released {
		assert.Contains(t, sums, fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(readFile(t, file))), filepath.Base(file)))
	}
	assert.Equal(t, len(released), strings.Count(sums, "\n"), "lines of SHA256SUMS")

	archives := slices.Concat(releaseFiles(t, "*.tar.gz"), releaseFiles(t, "*.zip"))
	require.NotEmpty(t, archives)
	for _, archive := range archives {
		t.Run(filepath.Base(archive), func(t *testing.T) {
			platform := strings.TrimSuffix(strings.TrimSuffix(archive, ".zip"), ".tar.gz")
			folder, program := filepath.Base(platform)+"/", "otelcol-smtpfailure"
			if strings.Contains(platform, "_windows_") {
				program += ".exe"
			}
			want := []string{
				program, "LICENSE", "README.md", "CHANGELOG.md", "config.yaml", "THIRD_PARTY_LICENSES/go/LICENSE",
				"THIRD_PARTY_LICENSES/go.opentelemetry.io/collector/pdata/LICENSE",
			}
			if strings.Contains(platform, "_linux_") {
				want = append(want, "systemd/otelcol-smtpfailure.service", "systemd/environment",
					"systemd/config.yaml", "systemd/sysusers.conf")
				assert.FileExists(t, platform+".deb")
				assert.FileExists(t, platform+".rpm")
			}
			files := filesIn(t, archive)
			for _, name := range want {
				assert.Contains(t, files, folder+name)
			}
			checkBillOfMaterials(t, files[folder+program], platform+".cdx.json")
		})
	}
}

// filesIn returns the files in an archive, by name.
func filesIn(t *testing.T, archive string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	if strings.HasSuffix(archive, ".zip") {
		packed, err := zip.OpenReader(archive)
		require.NoError(t, err)
		defer packed.Close()
		for _, file := range packed.File {
			opened, err := file.Open()
			require.NoError(t, err)
			files[file.Name], err = io.ReadAll(opened)
			require.NoError(t, errors.Join(err, opened.Close()))
		}
		return files
	}
	compressed, err := gzip.NewReader(strings.NewReader(readFile(t, archive)))
	require.NoError(t, err)
	for packed := tar.NewReader(compressed); ; {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		files[header.Name], err = io.ReadAll(packed)
		require.NoError(t, err)
	}
}

// checkBillOfMaterials compares a bill of materials with what the linker wrote into a binary.
func checkBillOfMaterials(t *testing.T, program []byte, bill string) {
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Ref                       string `json:"bom-ref"`
			Name, Version, Purl, Type string
		}
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(readFile(t, bill)), &bom))
	assert.Equal(t, "CycloneDX", bom.BOMFormat)
	assert.NotEmpty(t, bom.SpecVersion)
	assert.NotEmpty(t, bom.Metadata.Component.Name)
	assert.NotEmpty(t, bom.Metadata.Component.Version)
	versions, refs := make(map[string]string), make(map[string]bool)
	for _, component := range bom.Components {
		if component.Type != "library" || !strings.HasPrefix(component.Purl, "pkg:golang/") ||
			component.Version == "" || refs[component.Ref] {
			t.Errorf("the bill lacks something of %+v", component)
		}
		versions[component.Name], refs[component.Ref] = component.Version, true
	}
	for _, dependency := range bom.Dependencies {
		for _, ref := range dependency.DependsOn {
			assert.True(t, refs[ref], "%s depends on %s, which is not in the bill", dependency.Ref, ref)
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(program))
	require.NoError(t, err)
	assert.Equal(t, info.GoVersion, versions["std"])
	for _, module := range info.Deps {
		if module.Replace == nil {
			assert.Equal(t, module.Version, versions[module.Path], module.Path)
		}
	}
}

// TestPackage installs the deb in a root of its own and starts what the unit starts, as the user
// that the package makes.
func TestPackage(t *testing.T) {
	deb, folder := releaseFile(t, "*_linux_"+runtime.GOARCH+".deb"), t.TempDir()
	database := folder + "/var/lib/dpkg"
	for _, directory := range []string{database + "/info", database + "/updates", folder + "/etc", folder + "/tmp"} {
		require.NoError(t, os.MkdirAll(directory, 0o755))
	}
	// Readable by the user of the package.
	for path := folder; path != os.TempDir(); path = filepath.Dir(path) {
		require.NoError(t, os.Chmod(path, 0o755))
	}
	// What the package depends on is taken from this machine.
	require.NoError(t, os.WriteFile(database+"/status",
		[]byte("Package: systemd\nStatus: install ok installed\nMaintainer: nobody\n"+
			"Architecture: all\nVersion: 252\nDescription: stands for this machine's\n\n"), 0o600))
	dpkg := func(args ...string) {
		args = append([]string{"--root=" + folder, "--log=/dev/null", "--force-script-chrootless"}, args...)
		run(t, exec.Command("dpkg", args...))
	}
	dpkg("--install", deb)

	info, err := os.Stat(folder + "/etc/otelcol-smtpfailure/environment")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	unit := readFile(t, folder+"/usr/lib/systemd/system/otelcol-smtpfailure.service")
	// Lines such as "User=name", of which there has to be one.
	setting := func(name string) string {
		found := fieldsAfter(unit, name+"=")
		require.Len(t, found, 1, name)
		return strings.Join(found[0], " ")
	}
	accounts := fieldsAfter(strings.ReplaceAll(readFile(t, folder+"/etc/passwd"), ":", " "), setting("User")+" ")
	require.Len(t, accounts, 1)
	uid, err := strconv.Atoi(accounts[0][1])
	require.NoError(t, err)
	gid, err := strconv.Atoi(accounts[0][2])
	require.NoError(t, err)
	require.NotZero(t, uid)

	const state = "/var/lib/otelcol-smtpfailure"
	require.NoError(t, os.MkdirAll(folder+state, 0o700))
	require.NoError(t, os.Chown(folder+state, uid, gid))
	environment := append(environmentFile(t, folder+setting("EnvironmentFile")), "STATE_DIRECTORY="+state)
	command := func(name string) *exec.Cmd {
		line := strings.Fields(os.Expand(setting(name), func(name string) string { return valueIn(environment, name) }))
		command := exec.Command(line[0], line[1:]...)
		command.Env, command.Dir = environment, "/"
		command.SysProcAttr = &syscall.SysProcAttr{
			Chroot:     folder,
			Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)},
		}
		return command
	}
	run(t, command("ExecStartPre"))
	p := startProcess(t, command("ExecStart"))
	p.eventually(t, "health_check answers", func() bool {
		status, _ := get("http://127.0.0.1:13133")
		return status == 200
	})
	checkSignedOnly(t, "http://"+valueIn(environment, "LISTEN"), "http://127.0.0.1:13133")
	require.NoError(t, p.terminate())

	dpkg("--purge", "otelcol-smtpfailure")
	assert.NoFileExists(t, folder+"/usr/bin/otelcol-smtpfailure")
}

// fieldsAfter returns the fields after a prefix of the lines that begin with it.
func fieldsAfter(text, prefix string) (found [][]string) {
	for line := range strings.Lines(text) {
		if after, ok := strings.CutPrefix(line, prefix); ok {
			found = append(found, strings.Fields(after))
		}
	}
	return found
}

// statusField returns the first value of a line in a process's status.
func statusField(t *testing.T, pid int, name string) string {
	t.Helper()
	found := fieldsAfter(readFile(t, fmt.Sprintf("/proc/%d/status", pid)), name+":")
	require.Len(t, found, 1, name)
	return found[0][0]
}

// TestImage builds the image around the release's binary and runs it as an engine would: its
// command as its user, its health check, the README's call, and SIGTERM. Under chroot isolation it
// shares this machine's network.
func TestImage(t *testing.T) {
	releaseFile(t, "linux-"+runtime.GOARCH+"_linux_*")
	folder := t.TempDir()
	buildah := func(args ...string) *exec.Cmd {
		store := []string{"--root", folder + "/root", "--runroot", folder + "/run", "--storage-driver", "vfs"}
		command := exec.Command("buildah", append(store, args...)...)
		command.Dir = root
		return command
	}
	prints := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(run(t, buildah(args...)))
	}
	version := strings.TrimSpace(readFile(t, root+"/build/version"))
	build := func(args ...string) {
		prints(append([]string{"bud", "--isolation", "chroot", "--format", "docker"}, args...)...)
	}
	build("--build-arg", "VERSION="+version, "--tag", "release", ".")
	for _, other := range []string{"amd64", "arm64"} {
		if other != runtime.GOARCH && len(releaseFiles(t, "linux-"+other+"_linux_*")) > 0 {
			build("--platform", "linux/"+other, "--tag", other, ".")
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
	require.NoError(t, json.Unmarshal([]byte(prints("inspect", container)), &inspected))
	config := inspected.Docker.Config
	require.Len(t, config.Healthcheck.Test, 2)
	assert.Equal(t, "CMD", config.Healthcheck.Test[0], "there is no shell in the image")
	assert.Equal(t, version, config.Labels["org.opencontainers.image.version"])

	inside := func(command ...string) *exec.Cmd {
		return buildah(append([]string{"run", "--isolation", "chroot", container, "--"}, command...)...)
	}
	require.Error(t, inside(config.Healthcheck.Test[1]).Run(), "the health check passes before it is started")
	p := startProcess(t, inside(slices.Concat(config.Entrypoint, config.Cmd)...))
	p.eventually(t, "its health check passes", func() bool { return inside(config.Healthcheck.Test[1]).Run() == nil })

	pid := descendant(t, p.Pid, filepath.Base(config.Entrypoint[0]))
	uid := statusField(t, pid, "Uid")
	assert.Equal(t, config.User, uid+":"+statusField(t, pid, "Gid"))
	assert.NotEqual(t, "0", uid)
	addresses := listening(t, pid)
	assert.NotEmpty(t, addresses)
	for _, address := range addresses {
		assert.True(t, strings.HasPrefix(address, "0100007F:"), "it listens on %s before its owner has said so",
			address)
	}

	output, err := exec.Command("sh", root+"/examples/quickstart/send.sh").Output()
	require.NoError(t, err)
	assert.Contains(t, string(output), "HTTP/1.1 200 ")
	require.NoError(t, syscall.Kill(pid, syscall.SIGTERM))
	<-p.exited
	require.NoError(t, p.err)
	assert.Contains(t, p.output.String(), "EventName: email.delivery.failed")
	assert.Contains(t, p.output.String(), "Shutdown complete.")
}

// descendant returns the process below another one whose program has the name.
func descendant(t *testing.T, ancestor int, name string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(t, err)
	for _, link := range links {
		program, err := os.Readlink(link)
		if err != nil || filepath.Base(program) != name {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		require.NoError(t, err)
		for parent := pid; parent > 1; {
			if parent == ancestor {
				return pid
			}
			parent, err = strconv.Atoi(statusField(t, parent, "PPid"))
			require.NoError(t, err)
		}
	}
	t.Fatalf("process %d has no descendant %s", ancestor, name)
	return 0
}

// listening returns the local addresses on which a process listens, as the kernel writes them.
func listening(t *testing.T, pid int) (addresses []string) {
	t.Helper()
	folder := fmt.Sprintf("/proc/%d/", pid)
	files, err := filepath.Glob(folder + "fd/*")
	require.NoError(t, err)
	sockets := make(map[string]bool)
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil {
			sockets[target] = true
		}
	}
	for line := range strings.Lines(readFile(t, folder+"net/tcp") + readFile(t, folder+"net/tcp6")) {
		const listens = "0A"
		if fields := strings.Fields(line); fields[3] == listens && sockets["socket:["+fields[9]+"]"] {
			addresses = append(addresses, fields[1])
		}
	}
	return addresses
}
