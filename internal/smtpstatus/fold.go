package smtpstatus

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// fold appends the words of s to text, each with a space after it, so that what servers word alike
// reads alike: in lower case, without accents, punctuation and small words, and every "isn't",
// "does not" or "cannot" a "not". What has no letter (codes, statuses, IPv4 addresses, counts) is
// left out, and so is what has an @: a recipient such as spam-test@example.com says nothing of the
// cause.
func fold(text []byte, s string) []byte {
	token, word, address := len(text), len(text), false // where they begin
	for i, r := range s {
		if r == '_' && i+1 < len(s) && '0' <= s[i+1] && s[i+1] <= '9' {
			continue // a receiver's own code, such as OFR_417, is one word
		}
		if r = foldRune(r); r < 0 {
			continue
		}
		if isInWord(r) {
			text = utf8.AppendRune(text, r)
			continue
		}
		text = foldWord(text, word)
		address = address || r == '@'
		if endsToken(r) {
			if address {
				text = text[:token]
			}
			token, address = len(text), false
		}
		word = len(text)
	}
	text = foldWord(text, word)
	if address {
		text = text[:token]
	}
	return text
}

// foldRune returns a letter in lower case and without the accents of European letters. Beyond ASCII
// it returns a space for what is no letter, and -1, which drops it, for what only marks one.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
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

func isInWord(r rune) bool {
	return r >= utf8.RuneSelf || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '\''
}

// isLetter reports whether r, which is in a word, is a letter.
func isLetter(r rune) bool { return r > '9' }

// foldWord ends the word that begins at start: without its ending 's and apostrophes and with a
// space after it, or not at all if it is one to leave out.
func foldWord(text []byte, start int) []byte {
	text, word := text[:start], bytes.TrimLeft(text[start:], "'")
	if !bytes.ContainsFunc(word, isLetter) {
		return text
	}
	if bytes.HasSuffix(word, []byte("'t")) {
		return append(text, "not "...)
	}
	for _, c := range bytes.TrimSuffix(word, []byte("'s")) {
		if c != '\'' {
			text = append(text, c)
		}
	}
	switch string(text[start:]) {
	case "a", "an", "e", "the", "this", "these", "is", "are", "was", "were", "be", "been", "being", "has",
		"had", "do", "does", "did", "can", "could", "will", "would", "it", "its", "his", "their", "your", "our",
		"currently":
		return text[:start]
	case "email":
		text = append(text[:start], "mail"...)
	case "cannot", "cant", "couldnt", "doesnt", "dont", "isnt", "wasnt", "wont":
		text = append(text[:start], "not"...)
	}
	return append(text, ' ')
}
