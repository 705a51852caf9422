package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// platform prints for which platform a binary was built, by what the Go linker wrote into it.
func platform(binary string, out io.Writer) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	settings := make(map[string]string, len(info.Settings))
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	_, err = fmt.Fprintf(out, "%s/%s\n", settings["GOOS"], settings["GOARCH"])
	return err
}

// sbom writes the bill of materials of a binary: what the Go linker wrote into it, with the licences from the module cache. It has no time, and
// a serial number that follows from the binary, so that it can be made again.
func sbom(repository, binary, target, version string) (err error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)

	var paths []string
	for _, module := range info.Deps {
		paths = append(paths, module.Path)
	}
	folders, err := moduleFolders(filepath.Join(repository, "build"), paths)
	if err != nil {
		return err
	}

	name := filepath.Base(strings.TrimSuffix(binary, ".exe"))
	main := cyclonedx.Component{
		BOMRef:   name,
		Type:     cyclonedx.ComponentTypeApplication,
		Name:     name,
		Version:  version,
		Licenses: licenseChoices([]string{"Apache-2.0"}),
		Hashes:   &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	standardLibrary := cyclonedx.Component{
		BOMRef:     "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       "std",
		Version:    info.GoVersion,
		PackageURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
		Licenses:   licenseChoices([]string{"BSD-3-Clause"}),
	}
	components := []cyclonedx.Component{standardLibrary}
	references := []string{standardLibrary.BOMRef}
	for _, module := range info.Deps {
		found, err := licensesOfModule(folders[module.Path])
		if err != nil {
			return fmt.Errorf("%s: %w", module.Path, err)
		}
		component := cyclonedx.Component{
			BOMRef:   packageURL(module.Path, module.Version),
			Type:     cyclonedx.ComponentTypeLibrary,
			Name:     module.Path,
			Version:  module.Version,
			Licenses: licenseChoices(found),
		}
		if module.Replace == nil {
			component.PackageURL = component.BOMRef
		} else {
			// Our own, from this checkout: its version is that of the distribution.
			component.Version = version
			component.BOMRef = packageURL(module.Path, version)
		}
		if module.Sum != "" {
			component.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: module.Sum}}
		}
		components = append(components, component)
		references = append(references, component.BOMRef)
	}

	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(sum)
	bom.Metadata = &cyclonedx.Metadata{Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &references}}

	out, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return cyclonedx.NewBOMEncoder(out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

// serialNumber makes a UUID of version 8, whose bits are the maker's to choose, of a hash.
func serialNumber(sum [sha256.Size]byte) string {
	b := sum[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

func packageURL(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

func licenseChoices(ids []string) *cyclonedx.Licenses {
	choices := make(cyclonedx.Licenses, 0, len(ids))
	for _, id := range ids {
		choices = append(choices, cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: id}})
	}
	return &choices
}
