package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// archive writes the files, each given as name=path, in the order given. Owner and times are fixed, so that equal files make equal archives.
func archive(target string, files []string, modified time.Time) (err error) {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	switch {
	case strings.HasSuffix(target, ".tar.gz"):
		compressed := gzip.NewWriter(out)
		packed := tar.NewWriter(compressed)
		err = addAll(files, func(name string, mode os.FileMode, size int64) (io.Writer, error) {
			header := &tar.Header{Name: name, Mode: int64(mode), Size: size, ModTime: modified, Format: tar.FormatUSTAR}
			err := packed.WriteHeader(header)
			return packed, err
		})
		return errors.Join(err, packed.Close(), compressed.Close())
	case strings.HasSuffix(target, ".zip"):
		packed := zip.NewWriter(out)
		err = addAll(files, func(name string, mode os.FileMode, _ int64) (io.Writer, error) {
			header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: modified}
			header.SetMode(mode)
			return packed.CreateHeader(header)
		})
		return errors.Join(err, packed.Close())
	}
	return fmt.Errorf("%s: an archive is .tar.gz or .zip", target)
}

// addAll writes each file to what the archive opens for it. All that counts of a mode is whether it is executable: the rest is up to the umask
// of whoever made the checkout.
func addAll(files []string, open func(name string, mode os.FileMode, size int64) (io.Writer, error)) error {
	for _, file := range files {
		name, path, ok := strings.Cut(file, "=")
		if !ok {
			return fmt.Errorf("%s: a file is given as NAME=PATH", file)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if info.Mode()&0o111 != 0 {
			mode = 0o755
		}
		entry, err := open(name, mode, int64(len(content)))
		if err != nil {
			return err
		}
		if _, err := entry.Write(content); err != nil {
			return err
		}
	}
	return nil
}

const sumsFile = "SHA256SUMS"

// checksums writes the sums of the files of a folder, as sha256sum does and checks them.
func checksums(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		if entry.IsDir() || entry.Name() == sumsFile {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}
	if sums.Len() == 0 {
		return fmt.Errorf("%s has no files", folder)
	}
	return os.WriteFile(filepath.Join(folder, sumsFile), []byte(sums.String()), 0o644)
}
