package privacy

import (
	"bytes"
	"html"
	"strconv"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// stretch is a part of a text, from one byte to before another.
type stretch struct{ from, to int }

// reading is a text as it reads once its spelling is undone: in lower case, in NFKC, without invisible characters, labels of punycode in
// their own script, and, in some readings, escapes replaced by what they stand for.
type reading struct {
	text []byte
	// marks says for each byte of text which stretch of the source it was read from; nil when byte i is byte i of the source.
	marks []stretch
	// quoted and xtext say that such an escape was seen, whether or not it was undone.
	quoted, xtext bool
}

func (v *reading) reset() {
	v.text, v.marks, v.quoted, v.xtext = v.text[:0], v.marks[:0], false, false
}

// source is the stretch of the source that text[from:to] was read from.
func (v *reading) source(from, to int) stretch {
	if v.marks == nil {
		return stretch{from, to}
	}
	return stretch{v.marks[from].from, v.marks[to-1].to}
}

// escapes says which kinds of escapes a reading undoes.
type escapes int

const (
	// noEscapes reads what is there.
	noEscapes escapes = iota
	// commonEscapes are percent, HTML entities and backslash escapes. They hardly occur by chance.
	commonEscapes
	// quotedEscapes are these and quoted-printable (=40), which does: size=4096.
	quotedEscapes
	// xtextEscapes are the common ones and xtext (+40), which does too. They are read apart: what one leaves may look like the other.
	xtextEscapes
)

// spelling looks at a text without reading it: whether its bytes are read as they are, and which escapes it may hold.
func spelling(s string) (plain, common, quoted, xtext bool) {
	plain = true
	for i := range len(s) {
		switch c := s[i]; {
		case c >= utf8.RuneSelf, invisible[c]:
			plain = false
		case c == '%', c == '&', c == '\\':
			common = true
		case c == '=':
			quoted = quoted || i+1 < len(s) && (isHex(s[i+1]) || s[i+1] == '\r' || s[i+1] == '\n')
		case c == '+':
			xtext = xtext || i+1 < len(s) && isHex(s[i+1])
		case c == '-':
			// Of punycode. A false alarm costs nothing but time.
			plain = plain && (i < 3 || s[i-1] != '-' || s[i-2]|0x20 != 'n')
		}
	}
	return plain, common, quoted, xtext
}

// invisible are the control characters that show nothing and separate nothing.
var invisible = func() (set [utf8.RuneSelf]bool) {
	for c := range set {
		set[c] = c < ' ' && c != '\t' && c != '\n' && c != '\v' && c != '\f' && c != '\r' || c == 0x7f
	}
	return set
}()

// readers are the buffers that readings are made in.
type readers struct {
	out, unescaped, folded reading
	segment                []byte
}

// read reads a text. The reading is good until the next one.
func (b *readers) read(s string, plain bool, undo escapes) *reading {
	if plain && undo == noEscapes {
		b.out.reset()
		b.out.marks = nil
		b.out.text = append(b.out.text, s...)
		for i, c := range b.out.text {
			b.out.text[i] = lower(c)
		}
		return &b.out
	}
	b.unescaped.unescape(s, undo)
	b.folded.fold(&b.unescaped, b)
	if !bytes.Contains(b.folded.text, []byte("xn--")) {
		return &b.folded
	}
	b.out.unpunycode(&b.folded)
	return &b.out
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func hexValue(digits []byte) rune {
	var value rune
	for _, c := range digits {
		if isDigit(c) {
			value = value<<4 | rune(c-'0')
		} else {
			value = value<<4 | rune(c-'a'+10)
		}
	}
	return value
}

// Longest entities: of a character by its number without its semicolon, and of one by its name.
const (
	maxNumber = 8
	maxEntity = 34
)

// unescape reads s with ASCII in lower case. What an escape stands for may complete another one, as in %2540 and &amp;#64;, so each byte is
// added to what was read before and the end of that looked at again. Every byte is taken back at most once, which keeps it linear.
func (v *reading) unescape(s string, undo escapes) {
	v.reset()
	for i := range len(s) {
		c := lower(s[i])
		if undo != noEscapes && !isDigit(c) && c != ';' {
			v.number(undo)
		}
		v.text = append(v.text, c)
		v.marks = append(v.marks, stretch{i, i + 1})
		if undo != noEscapes {
			v.reduce(undo)
		}
	}
	if undo != noEscapes {
		v.number(undo)
	}
}

// reduce undoes the escape that the text ends in, and what it completes.
func (v *reading) reduce(undo escapes) {
	again := true
	for again {
		again = v.reduceOnce(undo)
	}
}

func (v *reading) reduceOnce(undo escapes) bool {
	t := v.text
	n := len(t)
	switch c := t[n-1]; {
	case isHex(c):
		if n < 3 || !isHex(t[n-2]) {
			return false
		}
		switch t[n-3] {
		case '%':
			return v.replaceByte(3)
		case '=':
			v.quoted = true
			return undo == quotedEscapes && v.replaceByte(3)
		case '+':
			v.xtext = true
			return undo == xtextEscapes && v.replaceByte(3)
		case 'x':
			return n >= 4 && t[n-4] == '\\' && v.replaceByte(4)
		}
		if n >= 6 && t[n-5] == 'u' && (t[n-6] == '\\' || t[n-6] == '%') && isHex(t[n-3]) && isHex(t[n-4]) {
			return v.replace(6, hexValue(t[n-4:]))
		}
	case c == ';':
		return v.entity()
	case c == '\n':
		// A soft line break is nothing at all.
		for _, soft := range [...]string{"=\n", "=\r\n"} {
			if bytes.HasSuffix(t, []byte(soft)) {
				v.quoted = true
				if undo == quotedEscapes {
					v.cut(n - len(soft))
				}
				return false
			}
		}
	}
	return false
}

func (v *reading) cut(n int) {
	v.text, v.marks = v.text[:n], v.marks[:n]
}

// replaceByte puts the byte of its last two digits in place of the last n bytes.
func (v *reading) replaceByte(n int) bool {
	value := byte(hexValue(v.text[len(v.text)-2:]) & 0xff)
	mark := v.source(len(v.text)-n, len(v.text))
	v.cut(len(v.text) - n)
	v.text = append(v.text, lower(value))
	v.marks = append(v.marks, mark)
	return true
}

// replace puts characters in place of the last n bytes.
func (v *reading) replace(n int, characters ...rune) bool {
	mark := v.source(len(v.text)-n, len(v.text))
	v.cut(len(v.text) - n)
	for _, c := range characters {
		if c < utf8.RuneSelf {
			c = unicode.ToLower(c)
		}
		v.text = utf8.AppendRune(v.text, c)
	}
	for len(v.marks) < len(v.text) {
		v.marks = append(v.marks, mark)
	}
	return true
}

// number undoes an entity such as &#64 that lacks its semicolon.
func (v *reading) number(undo escapes) {
	at := len(v.text)
	for at > 0 && isDigit(v.text[at-1]) && len(v.text)-at < maxNumber {
		at--
	}
	if at == len(v.text) || at < 2 || v.text[at-1] != '#' || v.text[at-2] != '&' {
		return
	}
	if value, err := strconv.ParseInt(string(v.text[at:]), 10, 32); err == nil {
		v.replace(len(v.text)-at+2, rune(value))
		v.reduce(undo)
	}
}

// entity undoes an entity that the text ends in.
func (v *reading) entity() bool {
	t := v.text[max(0, len(v.text)-maxEntity):]
	amp := bytes.LastIndexByte(t, '&')
	if amp < 0 || len(t)-amp < 4 {
		return false
	}
	name := t[amp:]
	if name[1] == '#' {
		digits, base := name[2:len(name)-1], 10
		if digits[0] == 'x' {
			digits, base = digits[1:], 16
		}
		value, err := strconv.ParseInt(string(digits), base, 32)
		if err != nil || value < 0 {
			return false
		}
		return v.replace(len(name), rune(value))
	}
	for _, c := range name[1 : len(name)-1] {
		if !isAlnum(c) {
			return false
		}
	}
	if character := html.UnescapeString(string(name)); character != string(name) {
		return v.replace(len(name), []rune(character)...)
	}
	return false
}

// maxMarks is the number of combining marks that are taken together with the character before them.
const maxMarks = 32

// fold reads characters in NFKC and lower case, without those that show nothing. Bytes that are no UTF-8 are Latin-1.
func (v *reading) fold(from *reading, b *readers) {
	v.reset()
	t := from.text
	for i := 0; i < len(t); {
		if t[i] < utf8.RuneSelf && (i+1 == len(t) || t[i+1] < utf8.RuneSelf) {
			if !invisible[t[i]] {
				v.text = append(v.text, t[i])
				v.marks = append(v.marks, from.marks[i])
			}
			i++
			continue
		}
		c, size := utf8.DecodeRune(t[i:])
		if c == utf8.RuneError && size == 1 {
			c = rune(t[i])
		}
		b.segment = utf8.AppendRune(b.segment[:0], c)
		end := i + size
		for range maxMarks {
			if end == len(t) || t[end] < utf8.RuneSelf {
				break
			}
			next, size := utf8.DecodeRune(t[end:])
			if next == utf8.RuneError || norm.NFKC.Properties(t[end:]).BoundaryBefore() {
				break
			}
			b.segment = utf8.AppendRune(b.segment, next)
			end += size
		}
		mark := from.source(i, end)
		i = end
		v.text = appendFolded(v.text, b.segment)
		for len(v.marks) < len(v.text) {
			v.marks = append(v.marks, mark)
		}
	}
}

func appendFolded(to, segment []byte) []byte {
	var buffer [64]byte
	normal := norm.NFKC.Append(buffer[:0], segment...)
	for len(normal) > 0 {
		c, size := utf8.DecodeRune(normal)
		normal = normal[size:]
		switch c = unicode.ToLower(c); {
		case c == 'ß':
			to = append(to, "ss"...)
		case c == 'ς':
			to = utf8.AppendRune(to, 'σ')
		case c == '。':
			// The full stop of CJK text is a dot in a domain.
			to = append(to, '.')
		case c < utf8.RuneSelf && invisible[c], c == 0xad, c == 0x34f, unicode.Is(unicode.Cf, c), unicode.Is(unicode.Variation_Selector, c):
		default:
			to = utf8.AppendRune(to, c)
		}
	}
	return to
}

// maxLabel is the number of bytes of a label that is read as punycode; in DNS it is 63. Reading costs the square of it.
const maxLabel = 128

// unpunycode reads labels of punycode in their own script.
func (v *reading) unpunycode(from *reading) {
	v.reset()
	// The buffer may be one that had none.
	v.marks = v.marks[:0]
	t := from.text
	for i := 0; i < len(t); {
		if !bytes.HasPrefix(t[i:], []byte("xn--")) || i > 0 && isAlnum(t[i-1]) {
			v.text = append(v.text, t[i])
			v.marks = append(v.marks, from.marks[i])
			i++
			continue
		}
		end := i
		for end < len(t) && (isAlnum(t[end]) || t[end] == '-') {
			end++
		}
		if label, err := idna.Punycode.ToUnicode(string(t[i:min(end, i+maxLabel)])); err == nil && label != "" && end-i <= maxLabel {
			mark := from.source(i, end)
			v.text = appendFolded(v.text, []byte(label))
			for len(v.marks) < len(v.text) {
				v.marks = append(v.marks, mark)
			}
		} else {
			v.text = append(v.text, t[i:end]...)
			v.marks = append(v.marks, from.marks[i:end]...)
		}
		i = end
	}
}

// isAlnum takes lower case only.
func isAlnum(c byte) bool { return 'a' <= c && c <= 'z' || isDigit(c) }
