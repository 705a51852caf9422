package privacy

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// span is a part of a text, from one byte to before another.
type span struct{ from, to int }

// words are the words of a text, runs of letters and digits, in lower case and without accents, with
// one space before, between and after them: "Jane.Doé@acme" reads " jane doe acme ". So an address
// reads the same whatever marks stand between its words.
type words struct {
	text string
	// sources says of each byte of text where it was read from.
	sources []span
}

// source returns where text[from:to], which is not only spaces, was read from.
func (w *words) source(from, to int) span {
	for w.text[from] == ' ' {
		from++
	}
	for w.text[to-1] == ' ' {
		to--
	}
	return span{w.sources[from].from, w.sources[to-1].to}
}

const commonEscapes = `%(?:25)*[0-9A-Fa-f]{2}|\\+x[0-9A-Fa-f]{2}|(?:%|\\+)u[0-9A-Fa-f]{4}|&#[0-9]{1,9};?|&#[xX][0-9A-Fa-f]{1,8};?|&[A-Za-z]{2,31};`

// escapes are how a character is written as others. Quoted-printable and xtext are read apart from
// each other and from the common ones, because what looks like them is in ordinary text too: size=4096.
var escapes = []struct {
	mark    string
	pattern *regexp.Regexp
}{
	{`%&\`, regexp.MustCompile(commonEscapes)},
	{`=`, regexp.MustCompile(`=[0-9A-Fa-f]{2}|=\r?\n|` + commonEscapes)},
	{`+`, regexp.MustCompile(`\+[0-9A-Fa-f]{2}|` + commonEscapes)},
}

// maxEscaped is how often a text may have been escaped and is still read.
const maxEscaped = 4

// read calls use with the words of a text: as it is, and with its escapes undone.
func read(s string, use func(*words)) {
	plain := make([]int, len(s)+1)
	for i := range plain {
		plain[i] = i
	}
	use(fold(s, plain))
	for _, escape := range escapes {
		if !strings.ContainsAny(s, escape.mark) {
			continue
		}
		text, at := s, plain
		for range maxEscaped {
			text, at = unescape(escape.pattern, text, at)
		}
		if text != s {
			use(fold(text, at))
		}
	}
}

// unescape replaces escapes by what they stand for. at says of each byte, and of the end, where in the
// source it begins.
func unescape(pattern *regexp.Regexp, s string, at []int) (string, []int) {
	found := pattern.FindAllStringIndex(s, -1)
	if found == nil {
		return s, at
	}
	var text []byte
	var starts []int
	done := 0
	for _, escape := range found {
		text = append(text, s[done:escape[0]]...)
		starts = append(starts, at[done:escape[0]]...)
		text = append(text, meaning(s[escape[0]:escape[1]])...)
		for len(starts) < len(text) {
			starts = append(starts, at[escape[0]])
		}
		done = escape[1]
	}
	return string(append(text, s[done:]...)), append(starts, at[done:]...)
}

// meaning returns what an escape stands for. Several bytes of UTF-8 are several escapes.
func meaning(escape string) string {
	digits := 2
	switch {
	case escape[0] == '&':
		return html.UnescapeString(escape)
	case strings.HasSuffix(escape, "\n"):
		return ""
	case strings.ContainsRune(escape, 'u'):
		digits = 4
	}
	code, _ := strconv.ParseUint(escape[len(escape)-digits:], 16, 16)
	if digits == 2 {
		return string([]byte{byte(code)})
	}
	return string(rune(code))
}

// fold reads a text as words. What shows nothing, and accents, stand between no words. Bytes that are
// no UTF-8, which escapes can make, are Latin-1.
func fold(s string, at []int) *words {
	w := &words{sources: make([]span, 1, len(s)+2)}
	text := make([]byte, 1, len(s)+2)
	text[0] = ' '
	add := func(c rune, from span) {
		switch {
		case unicode.IsLetter(c), unicode.IsNumber(c):
			text = utf8.AppendRune(text, unicode.ToLower(c))
		case text[len(text)-1] == ' ':
		case unicode.In(c, unicode.M, unicode.Cf):
			w.sources[len(text)-1].to = from.to
		default:
			text = append(text, ' ')
		}
		for len(w.sources) < len(text) {
			w.sources = append(w.sources, from)
		}
	}
	var normal []byte
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		if size == 1 {
			c = rune(s[i])
		}
		from := span{at[i], at[i+size]}
		i += size
		if c < utf8.RuneSelf {
			add(c, from)
			continue
		}
		normal = norm.NFKD.AppendString(normal[:0], string(c))
		for _, part := range string(normal) {
			add(part, from)
		}
	}
	add(' ', span{})
	w.text = string(text)
	return w
}
