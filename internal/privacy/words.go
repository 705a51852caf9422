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

// mapped is a text made of an original. at holds where in the original each byte of it, and its
// end, was read.
type mapped struct {
	text string
	at   []int
}

// original returns s as mapped to itself.
func original(s string) mapped {
	at := make([]int, len(s)+1)
	for i := range at {
		at[i] = i
	}
	return mapped{s, at}
}

// source returns where in the original text[from:to] was read, without a space at either end.
func (m mapped) source(from, to int) (int, int) {
	if m.text[from] == ' ' {
		from++
	}
	if m.text[to-1] == ' ' {
		to--
	}
	for m.at[to] == m.at[to-1] { // one character that reads as several
		to++
	}
	return m.at[from], m.at[to]
}

const commonEscapes = `%(?:25)*[0-9A-Fa-f]{2}|\\+x[0-9A-Fa-f]{2}|(?:%|\\+)u[0-9A-Fa-f]{4}|` +
	`&#[0-9]{1,9};?|&#[xX][0-9A-Fa-f]{1,8};?|&[A-Za-z]{2,31};`

// escapes are ways to write a character as others. Quoted-printable and xtext are read apart from
// each other and from the common ones, because ordinary text looks like them too: size=4096.
var escapes = []struct {
	marks   string
	pattern *regexp.Regexp
}{
	{`%&\`, regexp.MustCompile(commonEscapes)},
	{`=`, regexp.MustCompile(`=[0-9A-Fa-f]{2}|=\r?\n|` + commonEscapes)},
	{`+`, regexp.MustCompile(`\+[0-9A-Fa-f]{2}|` + commonEscapes)},
}

// maxEscaped is how often a text may have been escaped.
const maxEscaped = 4

// readings returns a text as words: as it is, and with each kind of escapes undone.
func readings(s string) []mapped {
	plain := original(s)
	all := []mapped{fold(plain)}
	for _, escape := range escapes {
		if !strings.ContainsAny(s, escape.marks) {
			continue
		}
		m := plain
		for range maxEscaped {
			m = unescape(escape.pattern, m)
		}
		if m.text != s {
			all = append(all, fold(m))
		}
	}
	return all
}

// unescape replaces escapes by what they stand for.
func unescape(pattern *regexp.Regexp, m mapped) mapped {
	found := pattern.FindAllStringIndex(m.text, -1)
	if found == nil {
		return m
	}
	var text []byte
	var at []int
	done := 0
	for _, escape := range found {
		from, to := escape[0], escape[1]
		text = append(text, m.text[done:from]...)
		at = append(at, m.at[done:from]...)
		text = append(text, unescaped(m.text[from:to])...)
		for len(at) < len(text) {
			at = append(at, m.at[from])
		}
		done = to
	}
	return mapped{string(append(text, m.text[done:]...)), append(at, m.at[done:]...)}
}

// unescaped returns what an escape stands for, which may be one byte of several in UTF-8.
func unescaped(escape string) string {
	switch {
	case escape[0] == '&':
		return html.UnescapeString(escape)
	case strings.HasSuffix(escape, "\n"):
		return ""
	case strings.Contains(escape, "u"):
		code, _ := strconv.ParseUint(escape[len(escape)-4:], 16, 16)
		return string(rune(code))
	}
	code, _ := strconv.ParseUint(escape[len(escape)-2:], 16, 8)
	return string([]byte{byte(code)})
}

// fold returns the words of a text, runs of letters and digits, in lower case and without accents,
// with one space before, between and after them: "Jane.Doé@acme" becomes " jane doe acme ". So an
// address reads the same whatever separates its words. Invisible characters do not separate words.
// Bytes that are not UTF-8, which escapes can make, are Latin-1.
func fold(m mapped) mapped {
	text := append(make([]byte, 0, len(m.text)+2), ' ')
	at := append(make([]int, 0, len(m.text)+3), 0)
	add := func(c rune, from int) {
		switch {
		case unicode.IsLetter(c), unicode.IsNumber(c):
			text = utf8.AppendRune(text, unicode.ToLower(c))
		case text[len(text)-1] != ' ' && !unicode.In(c, unicode.M, unicode.Cf):
			text = append(text, ' ')
		}
		for len(at) < len(text) {
			at = append(at, from)
		}
	}
	for i := 0; i < len(m.text); {
		c, size := utf8.DecodeRuneInString(m.text[i:])
		if size == 1 {
			c = rune(m.text[i])
		}
		if c < utf8.RuneSelf {
			add(c, m.at[i])
		} else {
			for _, part := range norm.NFKD.String(string(c)) {
				add(part, m.at[i])
			}
		}
		i += size
	}
	end := m.at[len(m.text)]
	add(' ', end)
	return mapped{string(text), append(at, end)}
}

// wordsOf returns the words of s with one space between them.
func wordsOf(s string) string { return strings.TrimSpace(fold(original(s)).text) }
