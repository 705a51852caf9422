package webhook

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how deep the objects and arrays of a JSON body may be nested, the outermost included.
const MaxDepth = 32

// Errors of a JSON body, beside those of a form.
var (
	ErrJSON     = errors.New("not valid JSON")
	ErrNoObject = errors.New("not a JSON object")
	ErrTooDeep  = fmt.Errorf("JSON nested deeper than %d levels", MaxDepth)
)

// JSON decodes a body of type application/json: an object with the variables of a form. Numbers and
// booleans are text, and null is an empty value.
//
// The error is one of ErrJSON, ErrNoObject, ErrTooDeep, or one of those of Form.
func (d *Decoder) JSON(call Call) (*Event, error) {
	c, body, err := newCharset(call.Charset, call.Body)
	if err != nil {
		return nil, err
	}
	decoder := jsontext.NewDecoder(bytes.NewBufferString(c.decode(body)),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	r := jsonReader{decoder: decoder, builder: d.newEventBuilder(&call)}
	if err := r.body(); err != nil {
		return nil, err
	}
	return r.builder.event()
}

// jsonReader adds the values of a JSON text to an event.
type jsonReader struct {
	decoder    *jsontext.Decoder
	builder    *eventBuilder
	charset    charset // UTF-8: the text was decoded as a whole
	composites int     // objects and arrays
}

func (r *jsonReader) body() error {
	token, err := r.token()
	if err != nil {
		return err
	}
	if token.Kind() != jsontext.KindBeginObject {
		return ErrNoObject
	}
	if err := r.value(token, "", false); err != nil {
		return err
	}
	if _, err := r.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return r.invalid(err)
	}
	return nil
}

func (r *jsonReader) token() (jsontext.Token, error) {
	token, err := r.decoder.ReadToken()
	if err != nil {
		return token, r.invalid(err)
	}
	return token, nil
}

// invalid returns an error that says where the JSON is invalid, but nothing of the body.
func (r *jsonReader) invalid(err error) error {
	at := r.decoder.InputOffset()
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at = syntactic.ByteOffset
	}
	return fmt.Errorf("%w near byte %d", ErrJSON, at)
}

// value reads the value that begins with a token. It is listed if it is in an array.
func (r *jsonReader) value(token jsontext.Token, path string, listed bool) error {
	switch token.Kind() {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return r.composite(token.Kind() == jsontext.KindBeginObject, path, listed)
	case jsontext.KindNull:
		return r.builder.add(path, "", listed)
	default:
		return r.builder.add(path, r.charset.text(token.String()), listed)
	}
}

// composite reads the members of an object, or the elements of an array.
func (r *jsonReader) composite(object bool, path string, listed bool) error {
	// Besides the outermost, each one costs a name, even when it is empty.
	if r.composites++; r.composites > 1+MaxVariables {
		return ErrTooManyVariables
	}
	depth := r.decoder.StackDepth()
	if depth > MaxDepth {
		return ErrTooDeep
	}
	for {
		token, err := r.token()
		if err != nil {
			return err
		}
		if kind := token.Kind(); kind == jsontext.KindEndObject || kind == jsontext.KindEndArray {
			return nil
		}
		member := path
		if object {
			member = r.charset.text(token.String())
			if depth > 1 {
				member = path + pathSeparator + member
			}
			// Checked before the value, so that names cannot grow with the depth.
			if len(member) > MaxNameLength {
				return ErrNameTooLong
			}
			if token, err = r.token(); err != nil {
				return err
			}
		}
		if err := r.value(token, member, listed || !object); err != nil {
			return err
		}
	}
}
