package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// pkg is a package with its syntax and types, its tests left out.
type pkg struct {
	path    string // as it was named
	dir     string
	name    string
	files   []*source
	fset    *token.FileSet
	info    *types.Info
	types   *types.Package
	mutants []*mutant
}

// source is one file of a package.
type source struct {
	name    string // absolute
	text    []byte
	syntax  *ast.File
	changes []*change
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath string
	Dir        string
	Name       string
	Export     string
	GoFiles    []string
}

// load reads packages and what is needed to know the types in them: the compiler's own export data of what they import.
func load(ctx context.Context, dir string, paths []string) ([]*pkg, error) {
	if len(paths) == 0 {
		return nil, errors.New("name at least one package, such as ./internal/ledger")
	}
	var packages []*pkg
	for _, path := range paths {
		command := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Name,Export,GoFiles", path) //nolint:gosec // What is run and read is what the developer names.
		command.Dir, command.Stderr = dir, os.Stderr
		output, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", path, err)
		}
		exports := make(map[string]string)
		var last listed
		for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
			var one listed
			if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			exports[one.ImportPath] = one.Export
			// A package comes after all that it imports.
			last = one
		}
		p := &pkg{path: path, dir: last.Dir, name: last.Name, fset: token.NewFileSet()}
		if err := p.check(&last, exports); err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	return packages, nil
}

func (p *pkg) check(from *listed, exports map[string]string) error {
	var files []*ast.File
	for _, name := range from.GoFiles {
		s := &source{name: filepath.Join(p.dir, name)}
		var err error
		if s.text, err = os.ReadFile(s.name); err != nil {
			return err
		}
		if s.syntax, err = parser.ParseFile(p.fset, s.name, s.text, parser.SkipObjectResolution); err != nil {
			return err
		}
		p.files = append(p.files, s)
		files = append(files, s.syntax)
	}
	p.info = &types.Info{
		Types: make(map[ast.Expr]types.TypeAndValue), Uses: make(map[*ast.Ident]types.Object), Defs: make(map[*ast.Ident]types.Object),
	}
	config := types.Config{Importer: importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	var err error
	p.types, err = config.Check(from.ImportPath, p.fset, files, p.info)
	return err
}
