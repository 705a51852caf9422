package signature

import "encoding/binary"

// lower returns s with the letters of ASCII in lower case. Others stay, so that no name becomes another one by Unicode's rules.
func lower(s string) string {
	for i := range len(s) {
		if lowerByte(s[i]) != s[i] {
			var room [64]byte
			return string(appendLower(room[:0], s))
		}
	}
	return s
}

// appendLower appends what lower would return.
func appendLower(to []byte, s string) []byte {
	at := len(to)
	to = append(to, s...)
	for i := range len(s) {
		if c := lowerByte(s[i]); c != s[i] {
			to[at+i] = c
		}
	}
	return to
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// same says that lower would make a and b one.
func same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lowerByte(a[i]) != lowerByte(b[i]) {
			return false
		}
	}
	return true
}

// skip returns s from the first byte on that is neither white space (RFC 9110, section 5.6.3) nor the other one.
func skip(s string, other byte) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t' || s[0] == other) {
		s = s[1:]
	}
	return s
}

// trim returns s without white space at its ends.
func trim(s string) string {
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return skip(s, ' ')
}

// isText says that s may be a header's value: no control character but the tab (RFC 9110, section 5.5). A line end in a value
// could make one covered header look like two.
func isText(s string) bool {
	// Most values have eight bytes and no control character. Taking ' ' from a byte below it, or adding 1 to 0x7f, sets the highest bit, which
	// such a byte does not have. What is carried between eight bytes that are reckoned at once can make a good one look bad, so that all are
	// looked at one by one, but never a bad one good.
	if b := []byte(s); len(b) >= 8 {
		const each, highest = 0x0101010101010101, 0x8080808080808080
		w := binary.LittleEndian.Uint64(b[len(b)-8:])
		odd := ((w - ' '*each) | (w + each)) &^ w
		for ; len(b) > 8; b = b[8:] {
			w = binary.LittleEndian.Uint64(b)
			odd |= ((w - ' '*each) | (w + each)) &^ w
		}
		if odd&highest == 0 {
			return true
		}
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isToken says that s is a header's name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

// tokenBytes is read for every byte of every name.
var tokenBytes = func() (is [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") {
		is[c] = true
	}
	return is
}()

func isTokenByte(c byte) bool {
	return tokenBytes[c]
}

func isLetterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
