package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep the objects and arrays of a JSON body may be nested, the outermost object included.
const MaxDepth = 32

// Errors of a JSON body, beside those of a form.
var (
	ErrJSON     = errors.New("not valid JSON")
	ErrNoObject = errors.New("not a JSON object")
	ErrTooDeep  = fmt.Errorf("JSON nested deeper than %d levels", MaxDepth)
)

// JSON reads a call whose body is application/json: an object with the variables of a form. Numbers and booleans count as the
// text they are written as, null as an empty value; the members of an object are named as in a form, and the elements of an
// array are a list.
//
// The error is one of ErrJSON, ErrNoObject, ErrTooDeep, or one of those of Form.
func (d *Decoder) JSON(call Call) (*Event, error) {
	c, body, err := newCharset(call.Charset, call.Body)
	if err != nil {
		return nil, err
	}
	r := jsonReader{decoder: jsontext.NewDecoder(bytes.NewBufferString(c.decode(body)),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)), all: newValues()}
	if err := r.body(); err != nil {
		return nil, err
	}
	return d.event(&call, r.all)
}

// jsonReader reads the values of a JSON text in the order in which they come.
type jsonReader struct {
	decoder *jsontext.Decoder
	charset charset // of a text that is UTF-8 already
	all     *values
	nested  int
}

func (r *jsonReader) body() error {
	token, err := r.token()
	if err != nil {
		return err
	}
	if token.Kind() != jsontext.KindBeginObject {
		return ErrNoObject
	}
	if err := r.object("", false, 1); err != nil {
		return err
	}
	if _, err := r.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return r.invalid(err)
	}
	return nil
}

// token reads the next token. Of an error it says where, but not what: the text goes into responses and logs.
func (r *jsonReader) token() (jsontext.Token, error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return token, r.invalid(err)
	}
	return token, nil
}

func (r *jsonReader) invalid(err error) error {
	at := r.decoder.InputOffset()
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at = syntactic.ByteOffset
	}
	return fmt.Errorf("%w near byte %d", ErrJSON, at)
}

// object reads the members of an object that has begun, below a path.
func (r *jsonReader) object(path string, listed bool, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for {
		token, err := r.token()
		if err != nil {
			return err
		}
		if token.Kind() == jsontext.KindEndObject {
			return nil
		}
		member := r.charset.text(token.String())
		if depth > 1 {
			member = path + pathSeparator + member
		}
		// Before the value is read, so that names cannot grow with the depth.
		if len(member) > MaxNameLength {
			return ErrNameTooLong
		}
		if token, err = r.token(); err != nil {
			return err
		}
		if err := r.value(token, member, listed, depth); err != nil {
			return err
		}
	}
}

// array reads the elements of an array that has begun.
func (r *jsonReader) array(path string, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for {
		token, err := r.token()
		if err != nil {
			return err
		}
		if token.Kind() == jsontext.KindEndArray {
			return nil
		}
		if err := r.value(token, path, true, depth); err != nil {
			return err
		}
	}
}

// value reads what begins with a token.
func (r *jsonReader) value(token jsontext.Token, path string, listed bool, depth int) error {
	switch token.Kind() {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		// Each one costs a name, even when it is empty.
		if r.nested++; r.nested > MaxVariables {
			return ErrTooManyVariables
		}
		if token.Kind() == jsontext.KindBeginObject {
			return r.object(path, listed, depth+1)
		}
		return r.array(path, depth+1)
	case jsontext.KindNull:
		return r.all.add(path, "", listed)
	default:
		return r.all.add(path, r.charset.text(token.String()), listed)
	}
}
