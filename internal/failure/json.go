package failure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
//
// The error is one of ErrJSON, ErrNoObject, ErrTooDeep, or one of those of Form.
func (d *Decoder) JSON(body string) (Report, error) {
	// Before parsing, because the parser would replace what is not UTF-8.
	decoder := json.NewDecoder(strings.NewReader(validText(body)))
	decoder.UseNumber()

	r := jsonReader{decoder: decoder, body: body}
	token, err := r.token()
	if err != nil {
		return Report{}, err
	}
	if token != json.Delim('{') {
		return Report{}, ErrNoObject
	}
	if err := r.object(leaf{}, 1); err != nil {
		return Report{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Report{}, r.invalid()
	}
	return d.report(r.all)
}

// jsonReader walks a JSON text token by token: that keeps the order of the members and every one of a repeated name, which a map loses.
type jsonReader struct {
	decoder *json.Decoder
	body    string
	all     leaves
	nested  int
}

func (r *jsonReader) token() (json.Token, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, r.invalid()
	}
	return token, nil
}

// invalid says where, but not what: the text of the error goes into answers and logs.
func (r *jsonReader) invalid() error {
	// The parser counts in a text in which each byte of Latin-1 has become two.
	at, read := 0, int(r.decoder.InputOffset())
	for at < len(r.body) && read > 0 {
		c, size := utf8.DecodeRuneInString(r.body[at:])
		if at += size; c == utf8.RuneError && size == 1 {
			size = 2
		}
		read -= size
	}
	return fmt.Errorf("%w near byte %d", ErrJSON, at)
}

// object reads the members of an object whose place is at and whose brace was read.
func (r *jsonReader) object(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for r.decoder.More() {
		token, err := r.token()
		if err != nil {
			return err
		}
		key := token.(string)
		member := leaf{base: at.base, name: at.name + "." + key, list: at.list}
		if depth == 1 {
			member = leaf{base: key, name: key}
		}
		// Checked before the value, so that names cannot grow with the depth.
		if len(member.name) > MaxNameLength {
			return ErrNameTooLong
		}
		if err := r.value(member, depth); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

func (r *jsonReader) array(at leaf, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	at.list = true
	for r.decoder.More() {
		if err := r.value(at, depth); err != nil {
			return err
		}
	}
	_, err := r.token()
	return err
}

func (r *jsonReader) value(at leaf, depth int) error {
	token, err := r.token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		// Each one costs a name, even when it is empty.
		if r.nested++; r.nested > MaxVariables {
			return ErrTooManyVariables
		}
		if v == '{' {
			return r.object(at, depth+1)
		}
		return r.array(at, depth+1)
	case string:
		at.value = v
	case json.Number:
		at.value = v.String()
	case bool:
		at.value = "false"
		if v {
			at.value = "true"
		}
	}
	return r.all.add(at)
}
