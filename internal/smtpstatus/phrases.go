package smtpstatus

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// rule is a line of causes.txt: the cause of the texts that contain phrase, and also, if there is
// one. Both are folded.
type rule struct {
	cause        string
	weak         bool
	phrase, also []byte
}

func (r *rule) length() int { return len(r.phrase) + len(r.also) }

// beats reports whether r decides where both match: before a weak rule, before a shorter one, and
// one phrase before two.
func (r *rule) beats(other *rule) bool {
	switch {
	case other == nil:
		return true
	case r.weak != other.weak:
		return other.weak
	case r.length() != other.length():
		return r.length() > other.length()
	}
	return len(r.also) == 0 && len(other.also) > 0
}

// parseRules reads the form of causes.txt, which its first lines describe.
func parseRules(file string) ([]*rule, error) {
	var rules []*rule
	var group rule
	n := 0
	for line := range strings.Lines(file) {
		n++
		indented := strings.HasPrefix(line, "\t")
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case !indented:
			rank, cause, _ := strings.Cut(line, " ")
			if rank != "strong" && rank != "weak" || !slices.Contains(causeNames, cause) {
				return nil, fmt.Errorf("line %d: %q is not a rank and a cause", n, line)
			}
			group = rule{cause: cause, weak: rank == "weak"}
		default:
			r := group
			first, second, both := strings.Cut(line, " & ")
			r.phrase = foldPhrase(first)
			if both { // found by the second, which is usually the rarer
				r.phrase, r.also = foldPhrase(second), r.phrase
			}
			if r.cause == "" || len(r.phrase) < keyLength || both && len(r.also) == 0 {
				return nil, fmt.Errorf("line %d: %q can never match", n, line)
			}
			rules = append(rules, &r)
		}
	}
	return rules, nil
}

// foldPhrase returns what a folded text contains where it matches the phrase of causes.txt: whole
// words, though the last may go on where a * stands, and scripts without spaces have no words.
func foldPhrase(phrase string) []byte {
	if strings.HasPrefix(phrase, "x.") {
		return []byte(" " + phrase + " ")
	}
	stem, open := strings.CutSuffix(phrase, "*")
	folded := fold([]byte(" "), stem)
	if len(folded) == 1 {
		return nil
	}
	if folded[1] >= utf8.RuneSelf {
		folded = folded[1:]
	}
	if last := len(folded) - 1; open || folded[last-1] >= utf8.RuneSelf {
		folded = folded[:last]
	}
	return folded
}

// index holds rules by the first keyLength bytes of their phrases, of which there are hundreds.
type index map[string][]*rule

const keyLength = 4

func newIndex(rules []*rule) index {
	x := index{}
	for _, r := range rules {
		key := string(r.phrase[:keyLength])
		x[key] = append(x[key], r)
	}
	return x
}

// best returns the rule that decides for a folded text, nil if none matches.
func (x index) best(text []byte) *rule {
	var best *rule
	for i := range len(text) - keyLength + 1 {
		if text[i] != ' ' && text[i] < utf8.RuneSelf {
			continue // phrases begin where a word does
		}
		for _, r := range x[string(text[i:i+keyLength])] {
			if bytes.HasPrefix(text[i:], r.phrase) && r.beats(best) && bytes.Contains(text, r.also) {
				best = r
			}
		}
	}
	return best
}
