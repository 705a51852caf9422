package smtpstatus

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ownCode matches in a receiver's own code, such as OFR_417, what is to become one word.
var ownCode = regexp.MustCompile(`_([0-9])`)

// fold returns the words of s, with a space before and after each, so that what servers word alike
// reads alike: in lower case, without accents, punctuation and small words, and every "isn't",
// "does not" or "cannot" a "not". What has no letter (codes, statuses, IPv4 addresses, counts) is
// left out, and so is what has an @: a recipient such as spam-test@example.com says nothing of the
// cause.
func fold(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte(' ')
	s = strings.Map(foldRune, strings.ToLower(s))
	if strings.Contains(s, "_") {
		s = ownCode.ReplaceAllString(s, "$1")
	}
	for token := range strings.FieldsFuncSeq(s, endsToken) {
		if strings.Contains(token, "@") {
			continue
		}
		for word := range strings.FieldsFuncSeq(token, endsWord) {
			if word = foldWord(word); word != "" {
				b.WriteString(word)
				b.WriteByte(' ')
			}
		}
	}
	return b.String()
}

// foldRune returns a rune beyond ASCII in lower case and without the accents of European letters, a
// space for what is no letter, and -1, which drops it, for what only marks one.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		return r
	}
	r = unicode.ToLower(unicode.ToUpper(r)) // both, since some letters share one of the two
	switch {
	case r < utf8.RuneSelf:
		return r
	case r == '’' || r == 'ʼ':
		return '\''
	case r == utf8.RuneError || r == '\u00ad' || r == '\u200b' || unicode.Is(unicode.Mn, r):
		return -1
	case 'à' <= r && r <= 'ÿ':
		return rune(withoutAccents[r-'à'])
	case !unicode.IsLetter(r):
		return ' '
	}
	return r
}

// withoutAccents has the letters from U+00E0 to U+00FF.
const withoutAccents = "aaaaaaaceeeeiiiidnooooo ouuuuyty"

// endsToken reports whether r is no part of an address or a host name.
func endsToken(r rune) bool {
	switch r {
	case ' ', '\t', '\r', '\n', '\v', '\f', '<', '>', '(', ')', '[', ']', '{', '}', '"', ',', ';', ':', '|':
		return true
	}
	return false
}

func endsWord(r rune) bool {
	return r < utf8.RuneSelf && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '\''
}

// isLetter reports whether r, which was folded, is a letter.
func isLetter(r rune) bool { return r > '9' }

// foldWord returns a word without its ending 's and apostrophes, and "" for one to leave out.
func foldWord(word string) string {
	word = strings.TrimLeft(word, "'")
	if !strings.ContainsFunc(word, isLetter) {
		return ""
	}
	if strings.HasSuffix(word, "'t") {
		return "not"
	}
	switch word = strings.ReplaceAll(strings.TrimSuffix(word, "'s"), "'", ""); word {
	case "a", "an", "e", "the", "this", "these", "is", "are", "was", "were", "be", "been", "being", "has",
		"had", "do", "does", "did", "can", "could", "will", "would", "it", "its", "his", "their", "your", "our",
		"currently":
		return ""
	case "email":
		return "mail"
	case "cannot", "cant", "couldnt", "doesnt", "dont", "isnt", "wasnt", "wont":
		return "not"
	}
	return word
}
