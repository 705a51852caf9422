package webhook

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep the objects and arrays of a JSON body may be nested, the outermost object included.
const MaxDepth = 32

// Errors of a JSON body, beside those of a form.
var (
	ErrJSON     = errors.New("not valid JSON")
	ErrNoObject = errors.New("not a JSON object")
	ErrTooDeep  = fmt.Errorf("JSON nested deeper than %d levels", MaxDepth)
)

// JSON reads a report from an application/json body: an object with the variables of a form. Numbers and booleans count as the text they
// are written as, null as an empty value; the members of an object are named as in a form, and the elements of an array are a list.
// The report shares memory with the body.
//
// The error is one of ErrJSON, ErrNoObject, ErrTooDeep, or one of those of Form.
func (d *Decoder) JSON(call Call) (*Event, error) {
	var room [roomForLeaves]leaf
	r := jsonReader{text: validText(call.Body), all: room[:0]}
	if err := r.report(); err != nil {
		if errors.Is(err, ErrJSON) {
			err = r.invalid(call.Body)
		}
		return nil, err
	}
	return d.event(&call, r.all)
}

// jsonReader walks a JSON text (RFC 8259) once, from left to right. It keeps the order of the members and every one of a repeated name, and
// it makes no text anew that is in the body already; encoding/json does so for each token.
type jsonReader struct {
	text string
	// at is what comes next in text, after an error what is wrong there.
	at      int
	all     leaves
	nested  int
	decoded texts
}

// invalid says where, but not what: the text of the error goes into answers and logs.
func (r *jsonReader) invalid(body string) error {
	// In the text that was read each byte of Latin-1 has become two.
	at, read := 0, r.at
	for at < len(body) && read > 0 {
		c, size := utf8.DecodeRuneInString(body[at:])
		if at += size; c == utf8.RuneError && size == 1 {
			size = 2
		}
		read -= size
	}
	return fmt.Errorf("%w near byte %d", ErrJSON, at)
}

// report reads the whole text.
func (r *jsonReader) report() error {
	if r.next() != '{' {
		return r.noObject()
	}
	r.at++
	if err := r.object(leaf{}, 1); err != nil {
		return err
	}
	if r.next(); r.at < len(r.text) {
		return ErrJSON
	}
	return nil
}

// noObject tells another JSON value from what is none. An array counts as soon as it begins.
func (r *jsonReader) noObject() error {
	if r.next() != '[' {
		if _, err := r.scalar(); err != nil {
			return err
		}
	}
	return ErrNoObject
}

// next skips white space, and returns the byte after it without reading it: 0, which is not valid anywhere, at the end.
func (r *jsonReader) next() byte {
	for r.at < len(r.text) {
		switch c := r.text[r.at]; c {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// expect reads one byte.
func (r *jsonReader) expect(c byte) error {
	if r.next() != c {
		return ErrJSON
	}
	r.at++
	return nil
}

// more reports whether another member or element follows, and reads what is before it, or the closing bracket.
func (r *jsonReader) more(first bool, closing byte) (bool, error) {
	switch {
	case r.next() == closing:
		r.at++
		return false, nil
	case first:
		return true, nil
	default:
		return true, r.expect(',')
	}
}

// object reads the members of an object whose place is at and whose brace was read.
func (r *jsonReader) object(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for first := true; ; first = false {
		if more, err := r.more(first, '}'); !more || err != nil {
			return err
		}
		if err := r.expect('"'); err != nil {
			return err
		}
		key, err := r.str()
		if err != nil {
			return err
		}
		member := at
		if depth == 1 {
			member = newLeaf(key, key, false)
		} else {
			member.name += "." + key
		}
		// Checked before the value, so that names cannot grow with the depth.
		if len(member.name) > MaxNameLength {
			return ErrNameTooLong
		}
		if err := r.expect(':'); err != nil {
			return err
		}
		if err := r.value(member, depth); err != nil {
			return err
		}
	}
}

// array reads the elements of an array whose bracket was read.
func (r *jsonReader) array(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	at.list = true
	for first := true; ; first = false {
		if more, err := r.more(first, ']'); !more || err != nil {
			return err
		}
		if err := r.value(at, depth); err != nil {
			return err
		}
	}
}

func (r *jsonReader) value(at leaf, depth int) (err error) {
	c := r.next()
	if c != '{' && c != '[' {
		if at.value, err = r.scalar(); err != nil {
			return err
		}
		r.all, err = r.all.add(at)
		return err
	}
	r.at++
	// Each one costs a name, even when it is empty.
	if r.nested++; r.nested > MaxVariables {
		return ErrTooManyVariables
	}
	if c == '{' {
		return r.object(at, depth+1)
	}
	return r.array(at, depth+1)
}

// scalar reads a value that is neither an object nor an array.
func (r *jsonReader) scalar() (string, error) {
	switch r.next() {
	case '"':
		r.at++
		return r.str()
	case 't':
		return "true", r.word("true")
	case 'f':
		return "false", r.word("false")
	case 'n':
		return "", r.word("null")
	}
	from := r.at
	if !r.number() {
		return "", ErrJSON
	}
	return r.text[from:r.at], nil
}

func (r *jsonReader) word(word string) error {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return ErrJSON
	}
	r.at += len(word)
	return nil
}

// number reads a number, and reports whether there is one: -0, 1.50 and 1E+400 are.
func (r *jsonReader) number() bool {
	r.skip("-")
	if !r.skip("0") && !r.digits() {
		return false
	}
	if r.skip(".") && !r.digits() {
		return false
	}
	if r.skip("eE") {
		r.skip("+-")
		return r.digits()
	}
	return true
}

// skip reads one byte if it is one of those.
func (r *jsonReader) skip(those string) bool {
	if r.at == len(r.text) || strings.IndexByte(those, r.text[r.at]) < 0 {
		return false
	}
	r.at++
	return true
}

// digits reads one digit or more.
func (r *jsonReader) digits() bool {
	from := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	return r.at > from
}

// str reads a string whose opening quote was read.
func (r *jsonReader) str() (string, error) {
	from := r.at
	if err := r.plain(); err != nil {
		return "", err
	}
	if r.text[r.at] == '"' {
		r.at++
		return r.text[from : r.at-1], nil
	}

	out := r.decoded.begin(len(r.text) - from)
	r.decoded.all = append(r.decoded.all, r.text[from:r.at]...)
	for r.text[r.at] != '"' {
		if err := r.escape(); err != nil {
			return "", err
		}
		from := r.at
		if err := r.plain(); err != nil {
			return "", err
		}
		r.decoded.all = append(r.decoded.all, r.text[from:r.at]...)
	}
	r.at++
	return r.decoded.since(out), nil
}

// plain reads up to the next quote or backslash.
func (r *jsonReader) plain() error {
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"', c == '\\':
			return nil
		case c < ' ':
			return ErrJSON
		}
	}
	return ErrJSON
}

// afterBackslash is what may follow a backslash, itsMeaning at the same place what that stands for.
const (
	afterBackslash = `"\/bfnrt`
	itsMeaning     = "\"\\/\b\f\n\r\t"
)

// escape reads an escape and adds what it stands for to the decoded text.
func (r *jsonReader) escape() error {
	r.at++
	if r.at == len(r.text) {
		return ErrJSON
	}
	if i := strings.IndexByte(afterBackslash, r.text[r.at]); i >= 0 {
		r.at++
		r.decoded.all = append(r.decoded.all, itsMeaning[i])
		return nil
	}
	c, ok := r.unit(r.text[r.at:], "u")
	if !ok {
		return ErrJSON
	}
	r.at += len("uXXXX")
	if utf16.IsSurrogate(c) {
		low, _ := r.unit(r.text[r.at:], `\u`)
		// One without the other is utf8.RuneError.
		if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
			r.at += len(`\uXXXX`)
		}
	}
	r.decoded.all = utf8.AppendRune(r.decoded.all, c)
	return nil
}

// unit returns the UTF-16 code unit of four hexadecimal digits at the start of s, after the prefix.
func (*jsonReader) unit(s, prefix string) (rune, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || len(digits) < 4 {
		return 0, false
	}
	unit, err := strconv.ParseUint(digits[:4], 16, 16)
	return rune(unit), err == nil
}
