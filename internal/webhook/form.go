package webhook

import "strings"

// Form reads a call whose body is application/x-www-form-urlencoded, as PHP writes and reads forms: + is a space, %XX a byte, a %
// that starts no escape itself, and only & separates. The event shares memory with the body.
//
// The error is a NotTakenError or one of ErrTooManyVariables, ErrNameTooLong, ErrOtherWebhook, ErrNoID and ErrCharset; there is no
// form that cannot be read.
func (d *Decoder) Form(call Call) (*Event, error) {
	c, body, err := newCharset(call.Charset, call.Body)
	if err != nil {
		return nil, err
	}
	all := newValues()
	buf := make([]byte, len(body))
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = c.text(unescape(name, buf))
		if all.pairs == 0 {
			// It may be escaped too.
			name = strings.TrimPrefix(name, byteOrderMark)
		}
		path, listed := formPath(name)
		if err := all.add(path, c.text(unescape(value, buf)), listed); err != nil {
			return nil, err
		}
	}
	return d.event(&call, all)
}

// formPath reads the brackets of a form's name: a[] is a list, a[k] the member k of a, and so on inwards. A key is only ever
// text: nothing is allocated by an index. A name whose brackets do not match is taken as it is.
func formPath(name string) (path string, listed bool) {
	base, _, _ := strings.Cut(name, "[")
	if base == "" || len(base) == len(name) {
		return name, false
	}
	var all strings.Builder
	all.WriteString(strings.TrimSpace(base))
	for rest := name[len(base):]; rest != ""; {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return name, false
		}
		if key := rest[1:end]; key == "" {
			listed = true
		} else {
			all.WriteString(pathSeparator)
			all.WriteString(strings.TrimSpace(key))
		}
		rest = rest[end+1:]
	}
	return all.String(), listed
}

// unescape undoes the encoding of a form's name or value, which is no longer than buf.
func unescape(s string, buf []byte) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	n := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = hexValue(s[i+1])<<4 | hexValue(s[i+2])
			i += 2
		}
		buf[n] = c
		n++
	}
	return string(buf[:n])
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' }

// hexValue returns what a hexadecimal digit is worth.
func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
