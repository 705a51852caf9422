package smtpstatus

import (
	"fmt"
	"slices"
	"strings"
)

// rule is a line of causes.txt: the cause of the texts in which phrase, and also if there is one,
// occur. Both are folded.
type rule struct {
	cause        string
	weak         bool
	phrase, also string
}

// beats reports whether r decides where both apply.
func (r *rule) beats(other *rule) bool {
	if other == nil || r.weak != other.weak {
		return other == nil || other.weak
	}
	return len(r.phrase)+len(r.also) > len(other.phrase)+len(other.also)
}

// parseRules reads the form of causes.txt, which its first lines describe.
func parseRules(file string) ([]rule, error) {
	var rules []rule
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
			if rank != "telling" && rank != "weak" || !slices.Contains(causeNames, cause) {
				return nil, fmt.Errorf("line %d: %q is not a rank and a cause", n, line)
			}
			group = rule{cause: cause, weak: rank == "weak"}
		default:
			r := group
			first, second, both := strings.Cut(line, " & ")
			r.phrase = foldPhrase(first)
			if both {
				r.also = foldPhrase(second)
			}
			if r.cause == "" || r.phrase == "" || both && r.also == "" {
				return nil, fmt.Errorf("line %d: %q can never match", n, line)
			}
			rules = append(rules, r)
		}
	}
	return rules, nil
}

// foldPhrase returns what of a folded text matches the phrase of causes.txt: whole words, but that
// the last may go on where a * stands, and that scripts without spaces have no words.
func foldPhrase(phrase string) string {
	if strings.HasPrefix(phrase, "x.") {
		return " " + phrase + " "
	}
	stem, open := strings.CutSuffix(phrase, "*")
	folded := foldAll(stem)
	if folded == "" {
		return ""
	}
	if folded[0] < 0x80 {
		folded = " " + folded
	}
	if folded = strings.TrimSuffix(folded, " "); !open && folded[len(folded)-1] < 0x80 {
		folded += " "
	}
	return folded
}

// phrases is an Aho-Corasick automaton over the phrases of rules, with what each phrase stands for.
type phrases struct {
	columns [256]uint8 // of next, by byte; 0 is of all the bytes that no phrase has
	width   int
	next    []int32 // by state and column
	ends    []int32 // by state: the state itself or the longest suffix of it at which a phrase ends; 0: none
	shorter []int32 // by state at which a phrase ends: the next shorter suffix at which one ends; 0: none
	single  []*rule // by state: the rule whose only phrase ends there
	paired  []uint8 // by state: which of the phrases that need another one ends there, from 1; 0: none
	pairs   []pair
}

// pair is a rule of two phrases, with the numbers of both.
type pair struct {
	*rule
	first, second uint8
}

// maxPaired bounds how many phrases need another one.
const maxPaired = 127

func compile(rules []rule) *phrases {
	p := &phrases{width: 1}
	for i := range rules {
		for _, b := range []byte(rules[i].phrase + rules[i].also) {
			if p.columns[b] == 0 {
				p.columns[b] = uint8(p.width)
				p.width++
			}
		}
	}
	p.addState()
	var paired uint8
	number := func(phrase string) uint8 {
		state := p.add(phrase)
		if p.paired[state] == 0 {
			paired++
			p.paired[state] = paired
		}
		return p.paired[state]
	}
	for i := range rules {
		r := &rules[i]
		if r.also != "" {
			p.pairs = append(p.pairs, pair{rule: r, first: number(r.phrase), second: number(r.also)})
		} else if state := p.add(r.phrase); r.beats(p.single[state]) {
			p.single[state] = r
		}
	}
	p.link()
	return p
}

func (p *phrases) addState() int32 {
	p.next = append(p.next, make([]int32, p.width)...)
	p.single = append(p.single, nil)
	p.paired = append(p.paired, 0)
	return int32(len(p.single) - 1)
}

// add returns the state at which phrase ends.
func (p *phrases) add(phrase string) int32 {
	state := int32(0)
	for _, b := range []byte(phrase) {
		at := int(state)*p.width + int(p.columns[b])
		if p.next[at] == 0 {
			child := p.addState()
			p.next[at] = child
		}
		state = p.next[at]
	}
	return state
}

// link makes the automaton of the tree of phrases, breadth first: a missing step is that of the
// longest suffix.
func (p *phrases) link() {
	p.ends = make([]int32, len(p.single))
	p.shorter = make([]int32, len(p.single))
	suffix := make([]int32, len(p.single))
	queue := []int32{0}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		p.shorter[state] = p.ends[suffix[state]]
		if p.ends[state] = p.shorter[state]; p.single[state] != nil || p.paired[state] != 0 {
			p.ends[state] = state
		}
		for column := range p.width {
			at := int(state)*p.width + column
			fallback := int32(0)
			if state != 0 {
				fallback = p.next[int(suffix[state])*p.width+column]
			}
			if child := p.next[at]; child != 0 {
				suffix[child] = fallback
				queue = append(queue, child)
			} else {
				p.next[at] = fallback
			}
		}
	}
}

// best returns the rule that decides for a folded text, nil if none applies.
func (p *phrases) best(text []byte) *rule {
	var best *rule
	var seen [maxPaired + 1]bool
	state := int32(0)
	for _, b := range text {
		state = p.next[int(state)*p.width+int(p.columns[b])]
		for end := p.ends[state]; end != 0; end = p.shorter[end] {
			if r := p.single[end]; r != nil && r.beats(best) {
				best = r
			}
			seen[p.paired[end]] = true
		}
	}
	for i := range p.pairs {
		if pair := &p.pairs[i]; seen[pair.first] && seen[pair.second] && pair.beats(best) {
			best = pair.rule
		}
	}
	return best
}
