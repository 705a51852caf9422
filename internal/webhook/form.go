package webhook

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// Form reads a report from an application/x-www-form-urlencoded body, as PHP writes and reads forms: + is a space, %XX a byte, a % that
// starts no escape itself, and only & separates. The report shares memory with the body.
//
// The error is one of ErrTooManyVariables, ErrNameTooLong, ErrOtherType and ErrNoID; there is no form that cannot be read.
func (d *Decoder) Form(call Call) (*Event, error) {
	var (
		room    [roomForLeaves]leaf
		all     = leaves(room[:0])
		decoded texts
		err     error
	)
	for rest := call.Body; rest != ""; {
		var pair string
		pair, rest = cut(rest, '&')
		if pair == "" {
			continue
		}
		name, value := cut(pair, '=')
		if encoded(name) {
			name = decoded.unescape(name, len(call.Body))
		}
		if encoded(value) {
			value = decoded.unescape(value, len(call.Body))
		}
		l := decoded.place(name)
		l.value = value
		if all, err = all.add(l); err != nil {
			return nil, err
		}
	}
	return d.event(&call, all)
}

// cut is strings.Cut at one byte.
func cut(s string, at byte) (before, after string) {
	if i := strings.IndexByte(s, at); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}

// encoded says that a form's name or value may stand for another text: it has a percent sign, a plus sign or a byte that is not ASCII.
func encoded(s string) bool {
	// Eight bytes at a time, of which most texts have no more than a few times as many.
	for ; len(s) >= 8; s = s[8:] {
		eight := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		if (eight|zeroBytes(eight^('%'*eachByte))|zeroBytes(eight^('+'*eachByte)))&(0x80*eachByte) != 0 {
			return true
		}
	}
	for i := range len(s) {
		if c := s[i]; c == '%' || c == '+' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// eachByte times a byte is that byte eight times.
const eachByte = 0x0101010101010101

// zeroBytes sets the high bit of the lowest byte that is zero, if there is one, and may set others then.
func zeroBytes(eight uint64) uint64 {
	return (eight - eachByte) &^ eight
}

// place reads the brackets of a form's name: a[] is a list, a[k] the member k of a, and so on inwards. A key is only ever text:
// nothing is allocated by an index. A name whose brackets do not match is taken as it is.
func (t *texts) place(name string) leaf {
	open := strings.IndexByte(name, '[')
	if open <= 0 {
		return newLeaf(name, name, false)
	}
	base, rest := name[:open], name[open:]
	if rest == "[]" {
		return newLeaf(base, base, true)
	}

	list := false
	flat := t.begin(len(name))
	t.all = append(t.all, base...)
	for rest != "" {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			return newLeaf(name, name, false)
		}
		if key := rest[1:end]; key == "" {
			list = true
		} else {
			t.all = append(append(t.all, '.'), key...)
		}
		rest = rest[end+1:]
	}
	return newLeaf(base, t.since(flat), list)
}

// unescape undoes the encoding of a form's name or value, and makes it valid UTF-8. It never fails. All that it is called for is no longer than
// size together.
func (t *texts) unescape(s string, size int) string {
	from := t.begin(size)
	// What it stands for is no longer. Bytes that are put in their places take half as long as those that are appended.
	t.all = slices.Grow(t.all, len(s))
	out := t.all[from:][:len(s)]
	n := 0
	var all byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			if high, low := hexDigits[s[i+1]], hexDigits[s[i+2]]; high|low < notHex {
				c = high<<4 | low
				i += 2
			}
		}
		out[n] = c
		n++
		all |= c
	}
	t.all = t.all[:from+n]
	text := t.since(from)
	if all < utf8.RuneSelf {
		return text
	}
	return validText(text)
}

// notHex is in hexDigits what is no digit.
const notHex = 0x10

// hexDigits is what each byte stands for as a hexadecimal digit.
var hexDigits = func() (digits [256]byte) {
	for c := range digits {
		digits[c] = notHex
	}
	for digit, c := range "0123456789" {
		digits[c] = byte(digit)
	}
	for digit, c := range "abcdef" {
		digits[c] = 10 + byte(digit)
		digits[c-'a'+'A'] = 10 + byte(digit)
	}
	return digits
}()
