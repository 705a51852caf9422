package smtpstatus

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// maxText bounds how much of a description is looked at: what tells the cause stands early, and the
// rest is paid for.
const maxText = 1024

// foldReport appends to dst the text in which phrases are searched: the status as one word, such as
// "x.7.1", which no description can write, since a point is never part of a word; then the words of
// the description. A space stands before and after each word. It stops where dst is full.
func foldReport(dst []byte, description string, e Enhanced) []byte {
	dst = append(dst, ' ')
	if !e.IsZero() {
		dst = append(dst, "x."...)
		dst = strconv.AppendUint(dst, uint64(e.Subject), 10)
		dst = append(dst, '.')
		dst = strconv.AppendUint(dst, uint64(e.Detail), 10)
		dst = append(dst, ' ')
	}
	return fold(dst, description[:min(len(description), maxText)])
}

// fold appends the words of s to dst, each with a space after it, so that what servers word alike
// reads alike: in lower case, without accents, punctuation and small words, and every "isn't",
// "does not" or "cannot" a "not". What has no letter (codes, statuses, IPv4 addresses, counts) is
// left out, and so is what has an @: a recipient such as spam-test@example.com says nothing of the
// cause.
func fold(dst []byte, s string) []byte {
	word := len(dst)  // where the word begins that is being read
	token := len(dst) // where the words begin that no white space or bracket has ended
	address := false  // the token has an @
	letters := false  // the word has a letter
	quote := -1       // where the word had its last apostrophe
	for i := 0; i <= len(s); {
		r, size := rune(' '), 1
		if i < len(s) {
			if r = rune(s[i]); r >= utf8.RuneSelf {
				r, size = utf8.DecodeRuneInString(s[i:])
				r = plain(r)
			}
		}
		i += size
		switch {
		case 'a' <= r && r <= 'z' || r >= utf8.RuneSelf:
			letters = true
		case 'A' <= r && r <= 'Z':
			r += 'a' - 'A'
			letters = true
		case '0' <= r && r <= '9':
		case r == removed:
			continue
		case r == '\'' && len(dst) > word:
			quote = len(dst)
			continue
		case r == '_' && len(dst) > word && i < len(s) && '0' <= s[i] && s[i] <= '9':
			continue // a receiver's own token, such as OFR_417
		default:
			if len(dst) > word {
				dst = endWord(dst, word, quote, letters)
			}
			if r == '@' {
				address = true
			}
			if endsToken(r) {
				if address {
					dst = dst[:token]
				}
				address, token = false, len(dst)
			}
			word, quote, letters = len(dst), -1, false
			continue
		}
		if len(dst)+utf8.UTFMax+1 > cap(dst) {
			return dst[:word]
		}
		if r < utf8.RuneSelf {
			dst = append(dst, byte(r))
		} else {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// foldAll folds all of s.
func foldAll(s string) string {
	return string(fold(make([]byte, 0, utf8.UTFMax*(len(s)+2)), s))
}

// endWord ends the word that begins at start, or takes it away.
func endWord(dst []byte, start, quote int, letters bool) []byte {
	word := dst[start:]
	if !letters {
		return dst[:start]
	}
	if quote == len(dst)-1 {
		switch word[len(word)-1] {
		case 's':
			word = word[:len(word)-1]
		case 't':
			return append(dst[:start], "not "...)
		}
	}
	switch string(word) {
	case "a", "an", "e", "the", "this", "these", "is", "are", "was", "were", "be", "been", "being", "has",
		"had", "do", "does", "did", "can", "could", "will", "would", "it", "its", "his", "their", "your", "our",
		"currently":
		return dst[:start]
	case "email":
		return append(dst[:start], "mail "...)
	case "cannot", "cant", "couldnt", "doesnt", "dont", "isnt", "wasnt", "wont":
		return append(dst[:start], "not "...)
	}
	return append(dst[:start+len(word)], ' ')
}

// endsToken reports whether r is no part of an address or a host name.
func endsToken(r rune) bool {
	switch r {
	case ' ', '\t', '\r', '\n', '\v', '\f', '<', '>', '(', ')', '[', ']', '{', '}', '"', ',', ';', ':', '|':
		return true
	}
	return false
}

// removed stands for runes that are passed over.
const removed = -1

// plain folds a rune beyond ASCII: its lower case, without the accents of European letters; a space
// for what is no letter, and removed for what only marks one.
func plain(r rune) rune {
	r = unicode.ToLower(unicode.ToUpper(r)) // both, since some letters share one of the two
	switch {
	case r < utf8.RuneSelf:
		return r
	case r == '’' || r == 'ʼ':
		return '\''
	case r == utf8.RuneError || r == '\u00ad' || r == '\u200b' || unicode.Is(unicode.Mn, r):
		return removed
	case 'à' <= r && r <= 'ÿ':
		return rune(withoutAccents[r-'à'])
	case !unicode.IsLetter(r):
		return ' '
	}
	return r
}

// withoutAccents has the letters from U+00E0 to U+00FF.
const withoutAccents = "aaaaaaaceeeeiiiidnooooo ouuuuyty"
