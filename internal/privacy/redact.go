package privacy

import (
	"cmp"
	"crypto/md5"  //nolint:gosec // To know a hash that others made.
	"crypto/sha1" //nolint:gosec // The same.
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// kind is what a part of a text is. Where parts overlap, the greatest is what they are together.
type kind int

const (
	kindDomain kind = iota
	kindAddress
	kindRecipient
)

// markers stand in the place of what was taken out.
var markers = [...]string{kindDomain: "[domain]", kindAddress: "[address]", kindRecipient: "[recipient]"}

// form is a way to write the recipient, as words. Where it has spaces at its ends, it is no part of a
// longer word.
type form struct {
	words string
	kind  kind
}

const (
	// minName is how many characters a name has that is looked for where it stands alone.
	minName = 3
	// maxNames bounds the addresses and names that are looked for.
	maxNames = 32
)

// redactor takes what names the recipient out of texts.
type redactor struct {
	hideDomain bool
	// names are the recipient's addresses and names, as they were sent.
	names []string
	forms []form
	// incomplete reports whether there are people of whom no form is known.
	incomplete bool
}

// know adds a recipient as it was sent: an address, or several, with or without names.
func (r *redactor) know(sent string) {
	unescaped, _ := unescape(escapes[0].pattern, sent, make([]int, len(sent)+1))
	for _, text := range [...]string{sent, unescaped} {
		r.name(text)
		for _, part := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune("<>(),;\r\n", c) }) {
			r.name(part)
		}
	}
}

// name adds the forms of an address, or of a name.
func (r *redactor) name(name string) {
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
		r.alone(name)
		return
	}
	local, domain := name[:at], name[at+1:]
	r.alone(local)
	if untagged, _, tagged := strings.Cut(local, "+"); tagged {
		r.alone(untagged)
	}
	// With an error, these are what could be read of it.
	ascii, _ := idna.Punycode.ToASCII(strings.ToLower(domain))
	unicode, _ := idna.Punycode.ToUnicode(strings.ToLower(domain))
	l := wordsOf(local)
	for _, domain := range [...]string{domain, ascii, unicode} {
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

// alone adds a name that is looked for without a domain.
func (r *redactor) alone(name string) {
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

// hash adds the hashes that others make of addresses. Nobody has to guess the address of those whose
// list of customers is known.
func (r *redactor) hash() {
	for _, name := range r.names {
		for _, text := range [...]string{name, strings.ToLower(name)} {
			five, one, two := md5.Sum([]byte(text)), sha1.Sum([]byte(text)), sha256.Sum256([]byte(text)) //nolint:gosec // The same.
			for _, sum := range [...][]byte{five[:], one[:], two[:]} {
				r.add(hex.EncodeToString(sum), kindRecipient)
			}
		}
	}
}

func wordsOf(s string) string {
	return strings.Trim(fold(s, make([]int, len(s)+1)).text, " ")
}

var hash = regexp.MustCompile(`[0-9A-Fa-f]{32}`)

// addresses matches what looks like an address. What else a @ with spaces, (at) or =40 can be, it is
// only before a domain with a dot.
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

// finding is a part of a text that is to be taken out.
type finding struct {
	span
	kind kind
}

// redact returns the text with markers in place of the recipient's forms, and of whatever looks like
// an address where that is wanted.
func (r *redactor) redact(text string, allAddresses bool) string {
	if text != "" && r.incomplete {
		return markers[kindRecipient]
	}
	if hash.MatchString(text) {
		r.hash()
	}
	var found []finding
	read(text, func(w *words) {
		for _, form := range r.forms {
			for from := 0; ; {
				i := strings.Index(w.text[from:], form.words)
				if i < 0 {
					break
				}
				from += i
				found = append(found, finding{w.source(from, from+len(form.words)), form.kind})
				// The space behind it may be the one before the next.
				from += len(form.words) - 1
			}
		}
	})
	if allAddresses {
		for _, match := range addresses.FindAllStringIndex(text, -1) {
			found = append(found, finding{span{match[0], match[1]}, kindAddress})
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
