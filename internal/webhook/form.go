package webhook

import (
	"encoding/hex"
	"strings"
)

// Form decodes a body of type application/x-www-form-urlencoded as PHP does: a % that starts no
// escape is itself, and only & separates. The event shares the body's memory.
//
// The error is a NotAcceptedError or one of ErrTooManyVariables, ErrNameTooLong, ErrOtherWebhook,
// ErrNoID and ErrCharset; there is no malformed form.
func (d *Decoder) Form(call Call) (*Event, error) {
	c, body, err := newCharset(call.Charset, call.Body)
	if err != nil {
		return nil, err
	}
	b := d.newEventBuilder(&call)
	buf := make([]byte, 0, 512) // longer values are rare
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name = c.text(unescape(name, buf))
		if b.pairs == 0 {
			// It may be escaped too.
			name = strings.TrimPrefix(name, byteOrderMark)
		}
		path, listed := formPath(name)
		if err := b.add(path, c.text(unescape(value, buf)), listed); err != nil {
			return nil, err
		}
	}
	return b.event()
}

// formPath reads the brackets of a name: a[] is a list, a[k] the member k of a, and so on inwards.
// Keys are text, never indices to allocate by. Unbalanced brackets are part of the name.
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

// unescape decodes the name or value of a form, using buf.
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
