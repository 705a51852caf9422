package privacy

import (
	"cmp"
	"crypto/md5"  //nolint:gosec // To know a hash that others made.
	"crypto/sha1" //nolint:gosec // The same.
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// markers replace what is removed. Where parts overlap, the last of their markers replaces them
// all.
var markers = [...]string{domainMarker: "[domain]", addressMarker: "[address]", recipientMarker: "[recipient]"}

const (
	domainMarker = iota
	addressMarker
	recipientMarker
)

// form is a way to write the recipient, as words. With a space at an end, it ends with a whole
// word.
type form struct {
	words  string
	marker int
}

const (
	minName  = 3  // characters of a name that is searched for by itself
	maxNames = 32 // addresses and names that are searched for
)

// redactor removes from texts what names the recipient.
type redactor struct {
	hideDomain bool
	names      []string // the recipient's addresses and names, as they were sent
	forms      []form
	incomplete bool // there are people of whom no form is known
}

// addRecipient adds a recipient as it was sent: an address, or several, with or without names.
func (r *redactor) addRecipient(sent string) {
	texts := []string{sent}
	if common := escapes[0]; strings.ContainsAny(sent, common.marks) {
		texts = append(texts, unescape(common.pattern, original(sent)).text)
	}
	separates := func(c rune) bool { return strings.ContainsRune("<>(),;\r\n", c) }
	for _, text := range texts {
		r.addName(text)
		for part := range strings.FieldsFuncSeq(text, separates) {
			r.addName(part)
		}
	}
}

// addName adds the forms of an address, or of a name.
func (r *redactor) addName(name string) {
	if name = strings.TrimSpace(name); name == "" || slices.Contains(r.names, name) {
		return
	}
	if len(r.names) == maxNames {
		r.incomplete = true
		return
	}
	r.names = append(r.names, name)
	at := strings.LastIndexByte(name, '@')
	if at < 0 {
		r.addWords(name)
		return
	}
	local, domain := name[:at], name[at+1:]
	r.addWords(local)
	if untagged, _, tagged := strings.Cut(local, "+"); tagged {
		r.addWords(untagged)
	}
	// With an error, these are what could be read of it.
	ascii, _ := idna.Punycode.ToASCII(strings.ToLower(domain))
	unicode, _ := idna.Punycode.ToUnicode(strings.ToLower(domain))
	l := wordsOf(local)
	for _, domain := range []string{domain, ascii, unicode} {
		d := wordsOf(domain)
		if d == "" {
			continue
		}
		if l == "" {
			r.add(" "+d+" ", recipientMarker)
		} else {
			r.add(l+" "+d, recipientMarker)
			r.add(" "+d+" "+l+" ", recipientMarker)
		}
		if r.hideDomain {
			r.add(" "+d+" ", domainMarker)
		}
	}
}

// addWords adds a name without a domain, unless it is too short.
func (r *redactor) addWords(name string) {
	words := wordsOf(name)
	if words != "" && utf8.RuneCountInString(strings.Trim(name, `" `)) >= minName {
		r.add(" "+words+" ", recipientMarker)
	}
}

func (r *redactor) add(words string, marker int) {
	if f := (form{words, marker}); !slices.Contains(r.forms, f) {
		r.forms = append(r.forms, f)
	}
}

// addHashes adds the hashes that others make of addresses, which a list of customers reverses.
func (r *redactor) addHashes() {
	for _, name := range r.names {
		for _, text := range []string{name, strings.ToLower(name)} {
			for _, h := range []hash.Hash{md5.New(), sha1.New(), sha256.New()} { //nolint:gosec // The same.
				h.Write([]byte(text))
				r.add(hex.EncodeToString(h.Sum(nil)), recipientMarker)
			}
		}
	}
}

var hexHash = regexp.MustCompile(`[0-9A-Fa-f]{32}`)

// ats are the characters that a @ in an address, or what stands for it, begins with.
const ats = "@＠﹫%&\\=+([{<"

// addresses matches what looks like an address. A @ with spaces, (at) and =40 often stand for other
// things, so only before a domain with a dot.
var addresses = func() *regexp.Regexp {
	const (
		local  = `(?://[^\s/@<>]+|"[^"\r\n]+"|[\p{L}\p{N}_][\p{L}\p{M}\p{N}\p{Cf}!#$%&'*+/=?^_` + "`" + `{|}~.\\-]*)`
		label  = `[\p{L}\p{M}\p{N}\p{Cf}_-]+`
		dot    = `(?:[.。．]|[%=+]2[Ee]|&#46;?|&period;|\\\.|\s?[\[(]\.[\])]\s?)`
		dotted = label + `(?:` + dot + label + `)*` + dot + `\p{L}[\p{L}\p{M}\p{N}-]+`
		host   = `(?:\[[0-9A-Za-z.:]+\]|` + label + `(?:` + dot + label + `)*)`
		at     = `(?:[@＠﹫]|%(?:25)*40|&#0*64;?|&#[xX]0*40;?|&commat;|\\+u0040|\\+x40)`
		likeAt = `(?:\s+@\s*|@\s+|[=+]40|\s*[(\[{<]\s?(?:[aA][tT]|@)\s?[)\]}>]\s*)`
	)
	return regexp.MustCompile(local + `(?:` + at + host + `|` + likeAt + dotted + `)`)
}()

// finding is a part of a text that is to be removed.
type finding struct{ from, to, marker int }

// redact returns the text with markers in place of the recipient's forms and, where that is wanted,
// of all that looks like an address.
func (r *redactor) redact(text string, allAddresses bool) string {
	if text != "" && r.incomplete {
		return markers[recipientMarker]
	}
	if hexHash.MatchString(text) {
		r.addHashes()
	}
	var found []finding
	for _, reading := range readings(text) {
		for _, form := range r.forms {
			for i := 0; ; {
				next := strings.Index(reading.text[i:], form.words)
				if next < 0 {
					break
				}
				i += next
				from, to := reading.source(i, i+len(form.words))
				found = append(found, finding{from, to, form.marker})
				// The space at its end may be the one before the next.
				i += len(form.words) - 1
			}
		}
	}
	if allAddresses && strings.ContainsAny(text, ats) {
		for _, match := range addresses.FindAllStringIndex(text, -1) {
			found = append(found, finding{match[0], match[1], addressMarker})
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return cmp.Compare(a.from, b.from) })

	var out strings.Builder
	done := 0
	for i := 0; i < len(found); {
		whole := found[i]
		for i++; i < len(found) && found[i].from < whole.to; i++ {
			whole.to = max(whole.to, found[i].to)
			whole.marker = max(whole.marker, found[i].marker)
		}
		out.WriteString(text[done:whole.from])
		out.WriteString(markers[whole.marker])
		done = whole.to
	}
	out.WriteString(text[done:])
	return out.String()
}

// redactAll returns the texts with the recipient's forms replaced.
func (r *redactor) redactAll(texts []string) []string {
	texts = slices.Clone(texts)
	for i := range texts {
		texts[i] = r.redact(texts[i], false)
	}
	return texts
}
