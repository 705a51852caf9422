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

// kind is what a part of a text is. The greatest of those that overlap is what they are together.
type kind int

const (
	kindDomain kind = iota
	kindAddress
	kindRecipient
)

// markers replace what is removed.
var markers = [...]string{kindDomain: "[domain]", kindAddress: "[address]", kindRecipient: "[recipient]"}

// form is a way to write the recipient, as words. With a space at an end, it ends with a whole word.
type form struct {
	words string
	kind  kind
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
	for _, text := range texts {
		r.addName(text)
		for part := range strings.FieldsFuncSeq(text, func(c rune) bool { return strings.ContainsRune("<>(),;\r\n", c) }) {
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
			r.add(" "+d+" ", kindRecipient)
		} else {
			r.add(l+" "+d, kindRecipient)
			r.add(" "+d+" "+l+" ", kindRecipient)
		}
		if r.hideDomain {
			r.add(" "+d+" ", kindDomain)
		}
	}
}

// addWords adds a name without a domain, unless it is too short.
func (r *redactor) addWords(name string) {
	words := wordsOf(name)
	if words != "" && utf8.RuneCountInString(strings.Trim(name, `" `)) >= minName {
		r.add(" "+words+" ", kindRecipient)
	}
}

func (r *redactor) add(words string, kind kind) {
	if f := (form{words, kind}); !slices.Contains(r.forms, f) {
		r.forms = append(r.forms, f)
	}
}

// addHashes adds the hashes that others make of addresses, which a list of customers reverses.
func (r *redactor) addHashes() {
	for _, name := range r.names {
		for _, text := range []string{name, strings.ToLower(name)} {
			for _, h := range []hash.Hash{md5.New(), sha1.New(), sha256.New()} { //nolint:gosec // The same.
				h.Write([]byte(text))
				r.add(hex.EncodeToString(h.Sum(nil)), kindRecipient)
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
type finding struct {
	from, to int
	kind     kind
}

// redact returns the text with markers in place of the recipient's forms and, where that is wanted,
// of all that looks like an address.
func (r *redactor) redact(text string, allAddresses bool) string {
	if text != "" && r.incomplete {
		return markers[kindRecipient]
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
				found = append(found, finding{from, to, form.kind})
				// The space at its end may be the one before the next.
				i += len(form.words) - 1
			}
		}
	}
	if allAddresses && strings.ContainsAny(text, ats) {
		for _, match := range addresses.FindAllStringIndex(text, -1) {
			found = append(found, finding{match[0], match[1], kindAddress})
		}
	}
	slices.SortFunc(found, func(a, b finding) int { return cmp.Compare(a.from, b.from) })

	var out strings.Builder
	done := 0
	for i := 0; i < len(found); {
		whole := found[i]
		for i++; i < len(found) && found[i].from < whole.to; i++ {
			whole.to = max(whole.to, found[i].to)
			whole.kind = max(whole.kind, found[i].kind)
		}
		out.WriteString(text[done:whole.from])
		out.WriteString(markers[whole.kind])
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
