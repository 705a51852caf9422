package webhook

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	utf "golang.org/x/text/encoding/unicode"
)

// byteOrderMark is what some editors and languages put in front of a text.
const byteOrderMark = "\ufeff"

// charset is what the bytes of a body stand for.
type charset struct {
	// encoding is the one that was declared; nil for UTF-8, and for none.
	encoding encoding.Encoding
	// guessed reports whether none was declared.
	guessed bool
}

// newCharset returns the charset of a body, and the body without a byte order mark.
func newCharset(declared, body string) (charset, string, error) {
	c := charset{guessed: declared == ""}
	name := ""
	if declared != "" {
		found, err := htmlindex.Get(declared)
		if err != nil || found == encoding.Replacement {
			return c, "", ErrCharset
		}
		if name, _ = htmlindex.Name(found); found != utf.UTF8 {
			c.encoding = found
		}
	}
	// In UTF-16 not even a separator is one byte, so that the body as a whole is read first.
	switch {
	case strings.HasPrefix(body, "\xff\xfe"), strings.HasPrefix(body, "\xfe\xff"):
		c.encoding = utf.UTF16(utf.LittleEndian, utf.UseBOM)
		fallthrough
	case strings.HasPrefix(name, "utf-16"):
		body, c = c.decode(body), charset{}
	}
	return c, strings.TrimPrefix(body, byteOrderMark), nil
}

// text returns the text that bytes stand for, with spaces in place of control characters other than tab and line end, and
// without white space around.
func (c *charset) text(s string) string {
	if c.encoding == nil && isPlain(s) {
		return strings.TrimSpace(s)
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
			return ' '
		}
		return r
	}, c.decode(s))
	return strings.TrimSpace(s)
}

// isPlain reports whether bytes are ASCII without control characters other than tab and line end.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// decode returns the text that bytes stand for. What was declared to be in a charset and is not becomes U+FFFD; where none was
// declared, bytes that are not UTF-8 are windows-1252.
func (c *charset) decode(s string) string {
	if c.encoding != nil {
		// Decoders replace what they cannot read, and do not fail.
		s, _ = c.encoding.NewDecoder().String(s)
	}
	switch {
	case utf8.ValidString(s):
		return s
	case c.guessed:
		return windows1252(s)
	}
	return strings.ToValidUTF8(s, string(utf8.RuneError))
}

// windows1252 reads the bytes that are not UTF-8.
func windows1252(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			r = charmap.Windows1252.DecodeByte(s[0])
		}
		b.WriteRune(r)
		s = s[size:]
	}
	return b.String()
}
