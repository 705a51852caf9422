package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// rewritten returns the file with every mutant in it, each behind its switch.
func (s *source) rewritten() []byte {
	// The outer ones come first; of those with the same place, those that were found first.
	changes := slices.Clone(s.changes)
	slices.SortStableFunc(changes, func(a, b *change) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	var out bytes.Buffer
	s.render(&out, 0, len(s.text), changes)
	return out.Bytes()
}

// render writes the text between two offsets with the changes in it.
func (s *source) render(out *bytes.Buffer, from, to int, changes []*change) {
	for len(changes) > 0 {
		c := changes[0]
		inside := 1
		for inside < len(changes) && changes[inside].from < c.to {
			inside++
		}
		out.Write(s.text[from:c.from])
		if c.typ == "" {
			for _, alt := range c.alts {
				fmt.Fprintf(out, "if mutantActive(%d) {\n%s\n} else ", alt.number, alt.text)
			}
			if s.returning(c) {
				// The statement stays the last one of its list, so that the compiler sees that the function ends there.
				out.Truncate(out.Len() - len(" else "))
				out.WriteString("\n")
				s.render(out, c.from, c.to, changes[1:inside])
			} else {
				out.WriteString("{\n")
				s.render(out, c.from, c.to, changes[1:inside])
				out.WriteString("\n}")
			}
		} else {
			fmt.Fprintf(out, "(func() %s {", c.typ)
			for _, alt := range c.alts {
				fmt.Fprintf(out, " if mutantActive(%d) { return %s };", alt.number, alt.text)
			}
			out.WriteString(" return ")
			s.render(out, c.from, c.to, changes[1:inside])
			out.WriteString(" }())")
		}
		from, changes = c.to, changes[inside:]
	}
	out.Write(s.text[from:to])
}

// returning reports whether a statement returns something, so that the compiler may ask for it at the end of its function.
func (s *source) returning(c *change) bool {
	return strings.HasPrefix(string(s.text[c.from:c.to]), "return ")
}

// switchFile is the file that goes with a package of mutants. MUTANT is the number of the one that is switched on; MUTANTS_REACHED
// names a file to which the numbers of those that are come past are added.
const switchFile = `package %s

import (
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantNumber, _ = strconv.Atoi(os.Getenv("MUTANT"))
	mutantReached   = os.Getenv("MUTANTS_REACHED")
	mutantSeen      [%d]atomic.Bool
)

func mutantActive(n int) bool {
	if mutantReached != "" {
		mutantMark(n)
	}
	return n == mutantNumber
}

func mutantMark(n int) {
	if mutantSeen[n-%d].Swap(true) {
		return
	}
	f, err := os.OpenFile(mutantReached, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(n) + "\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		panic(err)
	}
}
`

// switches returns the file that goes with the package's mutants.
func (p *pkg) switches() string {
	first := p.mutants[0].Number
	return fmt.Sprintf(switchFile, p.name, len(p.mutants), first)
}
