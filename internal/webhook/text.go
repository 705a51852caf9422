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

const byteOrderMark = "\ufeff"

// charset decodes the text of a body.
type charset struct {
	encoding encoding.Encoding // nil for UTF-8
	guessed  bool              // whether none was declared
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
	// UTF-16 is decoded as a whole: not even its separators are single bytes.
	switch {
	case strings.HasPrefix(body, "\xff\xfe"), strings.HasPrefix(body, "\xfe\xff"):
		c.encoding = utf.UTF16(utf.LittleEndian, utf.UseBOM)
		fallthrough
	case strings.HasPrefix(name, "utf-16"):
		body, c = c.decode(body), charset{}
	}
	return c, strings.TrimPrefix(body, byteOrderMark), nil
}

// text decodes bytes to text as in Event. Control characters become spaces.
func (c *charset) text(s string) string {
	if c.encoding != nil || !isPlain(s) {
		s = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
				return ' '
			}
			return r
		}, c.decode(s))
	}
	return strings.TrimSpace(s)
}

// isPlain reports whether bytes are ASCII without control characters but tab and line ends.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c >= 0x7f) && c != '\t' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

// decode returns valid UTF-8. Bytes that are not in the declared charset become U+FFFD; where none
// was declared, bytes that are not UTF-8 are windows-1252.
func (c *charset) decode(s string) string {
	if c.encoding != nil {
		// Decoders replace what they cannot read, and do not fail.
		s, _ = c.encoding.NewDecoder().String(s)
	}
	if utf8.ValidString(s) {
		return s
	}
	if !c.guessed {
		return strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], string(utf8.RuneError)) {
			r = charmap.Windows1252.DecodeByte(s[i])
		}
		b.WriteRune(r)
	}
	return b.String()
}
