package failure

import (
	"strings"
)

// Form reads a report from an application/x-www-form-urlencoded body, as PHP writes and reads forms: + is a space, %XX a byte, a % that
// starts no escape itself, and only & separates. The report shares memory with the body.
//
// The error is one of ErrTooManyVariables, ErrNameTooLong, ErrOtherType and ErrNoID; there is no form that cannot be read.
func (d *Decoder) Form(body string) (Report, error) {
	var all leaves
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		l := place(validText(unescape(name)))
		l.value = validText(unescape(value))
		if err := all.add(l); err != nil {
			return Report{}, err
		}
	}
	return d.report(all)
}

// place reads the brackets of a form's name: a[] is a list, a[k] the member k of a, and so on inwards. A key is only ever text:
// nothing is allocated by an index. A name whose brackets do not match is taken as it is.
func place(name string) leaf {
	open := strings.IndexByte(name, '[')
	if open <= 0 {
		return leaf{base: name, name: name}
	}
	base, rest := name[:open], name[open:]
	if rest == "[]" {
		return leaf{base: base, name: base, list: true}
	}

	list := false
	var flat strings.Builder
	flat.Grow(len(name))
	flat.WriteString(base)
	for rest != "" {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return leaf{base: name, name: name}
		}
		if key := rest[1:end]; key == "" {
			list = true
		} else {
			flat.WriteByte('.')
			flat.WriteString(key)
		}
		rest = rest[end+1:]
	}
	return leaf{base: base, name: flat.String(), list: list}
}

// unescape undoes the encoding of a form's name or value. It never fails.
func unescape(s string) string {
	first := strings.IndexAny(s, "%+")
	if first < 0 {
		return s
	}
	out := make([]byte, first, len(s))
	copy(out, s)
	for i := first; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, fromHex(s[i+1])<<4|fromHex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return string(out)
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
