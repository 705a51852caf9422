// Command release makes what goes out with the distribution: the list of its dependencies' licences, their texts, a bill of materials for each
// binary, the archives and their checksums. The same input gives the same bytes. scripts/cross.sh and the Makefile call it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `usage:
  release licenses [-check] REPOSITORY PAGE    write, or check, the page that lists the licences of all dependencies
  release texts REPOSITORY FILE                write the texts of the licences of what is in the distribution
  release sbom -version V REPOSITORY BINARY FILE
                                               write the bill of materials of a binary, in CycloneDX
  release archive -time SECONDS FILE NAME=PATH...
                                               write a .tar.gz or .zip of the files
  release checksums FOLDER                     write SHA256SUMS of the files in it
  release platform BINARY                      print the operating system and architecture of a binary`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	check := flags.Bool("check", false, "compare with the page instead of writing it")
	version := flags.String("version", "", "version of the distribution")
	seconds := flags.Int64("time", 0, "modification time of all files, in seconds since 1970")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	rest := flags.Args()
	switch {
	case args[0] == "licenses" && len(rest) == 2:
		return licenses(rest[0], rest[1], *check)
	case args[0] == "texts" && len(rest) == 2:
		return texts(rest[0], rest[1])
	case args[0] == "sbom" && len(rest) == 3 && *version != "":
		return sbom(rest[0], rest[1], rest[2], *version)
	case args[0] == "archive" && len(rest) >= 2:
		return archive(rest[0], rest[1:], time.Unix(*seconds, 0).UTC())
	case args[0] == "checksums" && len(rest) == 1:
		return checksums(rest[0])
	case args[0] == "platform" && len(rest) == 1:
		return platform(rest[0], os.Stdout)
	}
	return errors.New(usage)
}
