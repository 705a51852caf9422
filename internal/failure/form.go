package failure

import (
	"strings"
)

// Form reads a report from an application/x-www-form-urlencoded body, as PHP writes and reads forms: + is a space, %XX a byte, a % that
// starts no escape itself, and only & separates. The report shares memory with the body.
//
// The error is one of ErrTooManyVariables, ErrNameTooLong, ErrOtherType and ErrNoID; there is no form that cannot be read.
func (d *Decoder) Form(body string) (Report, error) {
	var (
		room    [roomForLeaves]leaf
		all     = leaves(room[:0])
		decoded texts
		err     error
	)
	for rest := body; rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		l := decoded.place(validText(decoded.unescape(name, len(body))))
		l.value = validText(decoded.unescape(value, len(body)))
		if all, err = all.add(l); err != nil {
			return Report{}, err
		}
	}
	return d.report(all)
}

// place reads the brackets of a form's name: a[] is a list, a[k] the member k of a, and so on inwards. A key is only ever text:
// nothing is allocated by an index. A name whose brackets do not match is taken as it is.
func (t *texts) place(name string) leaf {
	open := strings.IndexByte(name, '[')
	if open <= 0 {
		return leaf{base: name, name: name}
	}
	base, rest := name[:open], name[open:]
	if rest == "[]" {
		return leaf{base: base, name: base, list: true}
	}

	list := false
	flat := t.begin(len(name))
	t.all.WriteString(base)
	for rest != "" {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return leaf{base: name, name: name}
		}
		if key := rest[1:end]; key == "" {
			list = true
		} else {
			t.all.WriteByte('.')
			t.all.WriteString(key)
		}
		rest = rest[end+1:]
	}
	return leaf{base: base, name: t.since(flat), list: list}
}

// unescape undoes the encoding of a form's name or value. It never fails. All that it is called for is no longer than size together.
func (t *texts) unescape(s string, size int) string {
	i := indexEscape(s)
	if i < 0 {
		return s
	}
	out := t.begin(size)
	for ; i >= 0; i = indexEscape(s) {
		t.all.WriteString(s[:i])
		switch {
		case s[i] == '+':
			t.all.WriteByte(' ')
		case i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			t.all.WriteByte(fromHex(s[i+1])<<4 | fromHex(s[i+2]))
			i += 2
		default:
			t.all.WriteByte('%')
		}
		s = s[i+1:]
	}
	t.all.WriteString(s)
	return t.since(out)
}

// indexEscape is strings.IndexAny(s, "%+"), which takes longer to set out than most texts are.
func indexEscape(s string) int {
	for i := range len(s) {
		if s[i] == '%' || s[i] == '+' {
			return i
		}
	}
	return -1
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func fromHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}
