package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const repository = "../.."

func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// entry is a file in an archive.
type entry struct {
	name, content string
	mode          os.FileMode
	modified      time.Time
}

func TestArchive(t *testing.T) {
	modified := time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)
	want := []entry{{"x/program", "runs", 0o755, modified}, {"x/docs/page", "reads", 0o644, modified}}

	for _, name := range []string{"x.tar.gz", "x.zip"} {
		t.Run(name, func(t *testing.T) {
			// The second time, the files have other times and modes that mean the same.
			var made [][]byte
			for _, umask := range []os.FileMode{0o755, 0o700} {
				folder := t.TempDir()
				program := write(t, filepath.Join(folder, "program"), "runs", umask)
				page := write(t, filepath.Join(folder, "page"), "reads", umask&0o666)
				if err := os.Chtimes(page, time.Unix(int64(umask), 0), time.Unix(int64(umask), 0)); err != nil {
					t.Fatal(err)
				}
				target := filepath.Join(folder, name)
				if err := run([]string{"archive", "-time", "1795327200", target, "x/program=" + program, "x/docs/page=" + page}); err != nil {
					t.Fatal(err)
				}
				made = append(made, read(t, target))
			}
			if !bytes.Equal(made[0], made[1]) {
				t.Error("the same files made two archives that differ")
			}
			if got := entriesOf(t, name, made[0]); !slices.EqualFunc(got, want, func(a, b entry) bool {
				return a.name == b.name && a.content == b.content && a.mode == b.mode && a.modified.Equal(b.modified)
			}) {
				t.Errorf("the archive holds %v, not %v", got, want)
			}
		})
	}

	if err := archive(filepath.Join(t.TempDir(), "x.rar"), nil, modified); err == nil {
		t.Error("an unknown format was taken")
	}
	if err := archive(filepath.Join(t.TempDir(), "x.zip"), []string{"x=" + filepath.Join(t.TempDir(), "none")}, modified); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there gave %v", err)
	}
}

func entriesOf(t *testing.T, name string, content []byte) []entry {
	t.Helper()
	var entries []entry
	if strings.HasSuffix(name, ".zip") {
		packed, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range packed.File {
			in, err := file.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, entry{file.Name, string(text), file.Mode(), file.Modified})
		}
		return entries
	}
	plain, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	packed := tar.NewReader(plain)
	for {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(packed)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{header.Name, string(text), os.FileMode(header.Mode), header.ModTime})
	}
}

func TestChecksums(t *testing.T) {
	folder := t.TempDir()
	write(t, filepath.Join(folder, "b"), "", 0o644)
	write(t, filepath.Join(folder, "a"), "abc", 0o644)
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n" +
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b\n"
	for range 2 {
		if err := run([]string{"checksums", folder}); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, filepath.Join(folder, sumsFile))); got != want {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
	if err := checksums(t.TempDir()); err == nil {
		t.Error("a folder without files has checksums")
	}
}

// text is a licence of which there is a copy in the module cache or in Go itself.
func text(t *testing.T, id string) string {
	t.Helper()
	switch id {
	case "Apache-2.0":
		return string(read(t, filepath.Join(repository, "LICENSE")))
	case "BSD-3-Clause":
		content, err := goLicense()
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	t.Fatalf("there is no text of %s", id)
	return ""
}

func TestLicensesOfAModule(t *testing.T) {
	apache, bsd := text(t, "Apache-2.0"), text(t, "BSD-3-Clause")
	for name, test := range map[string]struct {
		files    map[string]string
		packages []string
		want     []string
		problem  string
	}{
		"one":                           {files: map[string]string{"LICENSE": apache}, want: []string{"Apache-2.0"}},
		"named otherwise":               {files: map[string]string{"COPYING.txt": bsd}, want: []string{"BSD-3-Clause"}},
		"two":                           {files: map[string]string{"LICENSE": apache, "LICENSE-bsd": bsd}, want: []string{"Apache-2.0", "BSD-3-Clause"}},
		"a package's own":               {files: map[string]string{"LICENSE": apache, "a/b/LICENSE": bsd}, packages: []string{"a/b/c"}, want: []string{"Apache-2.0", "BSD-3-Clause"}},
		"of a package that is not used": {files: map[string]string{"LICENSE": apache, "a/LICENSE": bsd, "b/x": ""}, packages: []string{"b"}, want: []string{"Apache-2.0"}},
		"none":                          {files: map[string]string{"README": apache}, problem: "no licence"},
		"source":                        {files: map[string]string{"license.go": apache}, problem: "no licence"},
		"unknown":                       {files: map[string]string{"LICENSE": "All rights are ours."}, problem: "no licence that is known"},
	} {
		t.Run(name, func(t *testing.T) {
			m := &module{path: "example.com/m", folder: t.TempDir(), packages: make(map[string]bool)}
			for file, content := range test.files {
				write(t, filepath.Join(m.folder, file), content, 0o644)
			}
			for _, folder := range test.packages {
				if err := os.MkdirAll(filepath.Join(m.folder, folder), 0o755); err != nil {
					t.Fatal(err)
				}
				m.packages[filepath.Join(m.folder, folder)] = true
			}
			got, err := m.licenses()
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got the error %v, want %q", err, test.problem)
			}
		})
	}
}

// TestBillOfMaterials makes one of this test's own binary, and reads it back.
func TestBillOfMaterials(t *testing.T) {
	// The modules are looked up in build/ below the repository, which is this module here.
	root := t.TempDir()
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(here, filepath.Join(root, "build")); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "release")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	var made bytes.Buffer
	if err := platform(binary, &made); err != nil {
		t.Fatal(err)
	}
	if want := runtime.GOOS + "/" + runtime.GOARCH + "\n"; made.String() != want {
		t.Errorf("the binary is for %s, not %s", made.String(), want)
	}

	target := filepath.Join(t.TempDir(), "sbom.json")
	if err := run([]string{"sbom", "-version", "1.2.3", root, binary, target}); err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat, SpecVersion, SerialNumber string
		Metadata                             struct {
			Component struct {
				Name, Version string
				Hashes        []struct{ Alg, Content string }
			}
		}
		Components []struct {
			Name, Version, Purl string
			Licenses            []struct{ License struct{ ID string } }
		}
	}
	first := read(t, target)
	if err := json.Unmarshal(first, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.SpecVersion == "" || bom.Metadata.Component.Version != "1.2.3" || len(bom.Metadata.Component.Hashes) != 1 {
		t.Errorf("the bill is headed %+v", bom)
	}
	licences := make(map[string]string)
	for _, component := range bom.Components {
		if component.Version == "" || !strings.HasPrefix(component.Purl, "pkg:golang/"+component.Name+"@") || len(component.Licenses) == 0 {
			t.Errorf("the bill lacks something of %+v", component)
			continue
		}
		licences[component.Name] = component.Licenses[0].License.ID
	}
	for name, want := range map[string]string{
		"std": "BSD-3-Clause", "github.com/CycloneDX/cyclonedx-go": "Apache-2.0", "github.com/google/licensecheck": "BSD-3-Clause",
	} {
		if licences[name] != want {
			t.Errorf("the bill says %q of %s, not %q", licences[name], name, want)
		}
	}

	if err := run([]string{"sbom", "-version", "1.2.3", root, binary, target}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, target), first) {
		t.Error("the same binary made two bills that differ")
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"unknown"}, {"licenses"}, {"sbom", "a", "b", "c"}, {"archive", "x.zip"}, {"checksums"}} {
		if err := run(args); err == nil || err.Error() != usage {
			t.Errorf("%v gave %v", args, err)
		}
	}
}
