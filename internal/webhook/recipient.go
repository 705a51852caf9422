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

// parseRecipient returns the address in a recipient and its domain, as they are in Event. Without a
// domain, the address is all of the recipient.
func parseRecipient(s string) (address, domain string) {
	const maxRecipient = 2048 // addresses end at 320
	address = strings.ToLower(s)
	if s == "" || len(s) > maxRecipient {
		return address, ""
	}
	// Most need neither unwrapping nor normalization.
	if local, domain, _ := strings.Cut(address, "@"); isAtom(local) && isPlain(local) && isHostname(domain) {
		return address, domain
	}
	local, domain := splitAddress(s)
	if domain = domainName(domain); domain == "" {
		return address, ""
	}
	return norm.NFC.String(strings.ToLower(local)) + "@" + domain, domain
}

func splitAddress(s string) (local, domain string) {
	local, domain, found := strings.Cut(s, "@")
	if isAtom(local) && isAtom(domain) {
		return local, domain
	}
	if !found {
		// It may be escaped twice.
		if unescaped, err := url.PathUnescape(s); err == nil {
			s = unescaped
		}
	}
	parsed, err := mail.ParseAddress(strings.TrimRight(s, " .,;"))
	if err != nil {
		return splitLoosely(s)
	}
	at := strings.LastIndexByte(parsed.Address, '@')
	return parsed.Address[:at], parsed.Address[at+1:]
}

// isAtom reports whether part of an address consists of letters, digits and the usual punctuation.
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < utf8.RuneSelf && !isDigit(c) && !isLetter(c) && !strings.ContainsRune(".-_+", rune(c)) {
			return false
		}
	}
	return s != "" && s[len(s)-1] != '.'
}

// aroundAt is white space beside an @, which belongs there in no address.
var aroundAt = regexp.MustCompile(`\s*@\s*`)

// splitLoosely finds an address that net/mail cannot parse: in angle brackets, else in the first
// word with an @, after a colon or an opening mark.
func splitLoosely(s string) (local, domain string) {
	if _, after, ok := strings.Cut(s, "<"); ok {
		if inner, _, _ := strings.Cut(after, ">"); strings.Contains(inner, "@") {
			s = inner
		}
	}
	s = aroundAt.ReplaceAllString(s, "@")
	words := strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(",;>", r) })
	for _, word := range words {
		at := strings.LastIndexByte(word, '@')
		if at < 0 {
			continue
		}
		local, domain = word[strings.LastIndexAny(word[:at], ":<(")+1:at], word[at+1:]
		if end := strings.IndexFunc(domain, endsDomain); end >= 0 && domain[0] != '[' {
			domain = domain[:end]
		}
		return strings.Trim(local, `"'`), domain
	}
	return "", ""
}

func endsDomain(r rune) bool {
	return r != '.' && r != '-' && !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc, unicode.So)
}

// toASCII makes A-labels of domains as people type them.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// domainName returns a domain as an A-label, an IP address in brackets, or "" for all else.
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
		ascii, err := toASCII.ToASCII(s)
		if err != nil {
			// Some names in use may not be registered any more.
			ascii, _ = idna.Punycode.ToASCII(s)
		}
		s = ascii
	}
	if !isHostname(s) {
		return ""
	}
	return s
}

// isHostname reports whether the DNS can hold a domain in lower case (RFC 1035, section 2.3.4).
func isHostname(s string) bool {
	const maxDomain, maxLabel = 253, 63
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
	}
	return len(s) <= maxDomain && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || 'z' < r) && (r < '0' || '9' < r) && r != '-' && r != '_' && r != '.'
	})
}
