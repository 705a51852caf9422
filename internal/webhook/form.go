package webhook

import (
	"encoding/hex"
	"strings"
)

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
	buf := make([]byte, 0, 512) // longer values are rare
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
	bracket := strings.IndexByte(name, '[')
	if bracket <= 0 {
		return name, false
	}
	var all strings.Builder
	all.Grow(len(name))
	all.WriteString(strings.TrimSpace(name[:bracket]))
	for rest := name[bracket:]; rest != ""; {
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

// unescape undoes the encoding of a form's name or value, in buf.
func unescape(s string, buf []byte) string {
	i := 0
	for i < len(s) && s[i] != '%' && s[i] != '+' {
		i++
	}
	if i == len(s) {
		return s
	}
	buf = append(buf[:0], s[:i]...)
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			var decoded [1]byte
			if _, err := hex.Decode(decoded[:], []byte(s[i+1:i+3])); err == nil {
				c = decoded[0]
				i += 2
			}
		}
		buf = append(buf, c)
	}
	return string(buf)
}
