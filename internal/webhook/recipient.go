package webhook

import (
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// maxRecipient is the number of bytes of a recipient that is looked at: addresses end at 320, and names are short.
const maxRecipient = 2048

// parseRecipient returns the address that a recipient names, in lower case and its domain as an A-label, and the domain by
// itself. Nothing but the address counts: no name, comment or bracket around it. Where there is none, the address is what was
// sent.
func parseRecipient(s string) (address, domain string) {
	if s == "" || len(s) > maxRecipient {
		return strings.ToLower(s), ""
	}
	// Most need neither unwrapping nor normalization.
	address = strings.ToLower(s)
	if local, domain, _ := strings.Cut(address, "@"); isAtom(local) && isPlain(local) && isHostname(domain) {
		return address, domain
	}
	local, domain := splitAddress(s)
	if domain = domainName(domain); domain == "" {
		return strings.ToLower(s), ""
	}
	return norm.NFC.String(strings.ToLower(local)) + "@" + domain, domain
}

// splitAddress finds the address in a recipient.
func splitAddress(s string) (local, domain string) {
	local, domain, _ = strings.Cut(s, "@")
	if isAtom(local) && isAtom(domain) {
		return local, domain
	}
	if !strings.Contains(s, "@") {
		// Some escape what is escaped once more by the form.
		if unescaped, err := url.PathUnescape(s); err == nil {
			s = unescaped
		}
	}
	if parsed, err := mail.ParseAddress(strings.TrimRight(s, " .,;")); err == nil {
		s = parsed.Address
	} else {
		s = looseAddress(s)
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", ""
	}
	return s[:at], s[at+1:]
}

// isAtom reports whether a part of an address is made of what hardly any is made of more than.
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c|0x20 < 'a' || 'z' < c|0x20) && c != '.' && c != '-' && c != '_' && c != '+' && c < utf8.RuneSelf {
			return false
		}
	}
	return s != "" && s[len(s)-1] != '.'
}

// aroundAt is white space beside an @, which belongs there in no address.
var aroundAt = regexp.MustCompile(`\s*@\s*`)

// looseAddress finds what is most like an address in a text that is none: what stands in angle brackets, else the first word
// that has an @, without what goes before a colon or another opening mark.
func looseAddress(s string) string {
	if _, after, ok := strings.Cut(s, "<"); ok {
		inner, _, _ := strings.Cut(after, ">")
		if strings.Contains(inner, "@") {
			s = inner
		}
	}
	s = aroundAt.ReplaceAllString(s, "@")
	words := strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == ',' || r == ';' || r == '>' })
	for _, word := range words {
		at := strings.LastIndexByte(word, '@')
		if at < 0 {
			continue
		}
		local := word[strings.LastIndexAny(word[:at], ":<(")+1 : at]
		domain := word[at+1:]
		if !strings.HasPrefix(domain, "[") {
			if end := strings.IndexFunc(domain, func(r rune) bool { return !isDomainRune(r) }); end >= 0 {
				domain = domain[:end]
			}
		}
		return strings.Trim(local, `"'`) + "@" + domain
	}
	return ""
}

func isDomainRune(r rune) bool {
	return r == '.' || r == '-' || r == '_' || unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc, unicode.So)
}

func isNoDomainRune(r rune) bool {
	return (r < 'a' || 'z' < r) && (r < '0' || '9' < r) && r != '-' && r != '_'
}

// toASCII makes A-labels of domains as people type them.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// The longest domain in the DNS, and the longest part of one, RFC 1035 section 2.3.4.
const (
	maxDomain = 253
	maxLabel  = 63
)

// domainName returns a domain in lower case and as an A-label, or nothing for what is no domain. An address in brackets is one.
func domainName(s string) string {
	s = strings.Trim(s, ".")
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if strings.Trim(s[1:len(s)-1], "0123456789abcdefABCDEFIPvV.:") != "" {
			return ""
		}
		return strings.ToLower(s)
	}
	s = strings.ToLower(s)
	if !isPlain(s) {
		// What the profile refuses is no name that may be registered, and in use all the same.
		ascii, err := toASCII.ToASCII(s)
		if err != nil {
			ascii, _ = idna.Punycode.ToASCII(s)
		}
		s = ascii
	}
	if !isHostname(s) {
		return ""
	}
	return s
}

// isHostname reports whether a domain in lower case has no label that is empty, too long or written with other characters.
func isHostname(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel || strings.ContainsFunc(label, isNoDomainRune) {
			return false
		}
	}
	return true
}
