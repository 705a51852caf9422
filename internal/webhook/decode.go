package webhook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// Bounds of a call. The senders' own have eleven variables with short names, and the tags.
const (
	// MaxVariables is the number of name-value pairs that a body may have. Every element of an array is one.
	MaxVariables = 256
	// MaxNameLength is the number of bytes that the name of a variable may have, with the keys of the arrays it stands in.
	MaxNameLength = 1024
	// MaxOthers is the number of variables without a field of their own that an event keeps, and MaxOtherLength the number of
	// bytes of each: backends refuse a record that has many more, as a whole.
	MaxOthers      = 64
	MaxOtherLength = 4096
	// MaxAhead is how far ahead of its arrival an event may be. The clock of a sender is not further off; a timestamp that is
	// read in the wrong time zone is.
	MaxAhead = 10 * time.Minute
)

// Errors of a body that is no event. None of their texts holds anything of the body but words that the senders document, so
// that they are fit to be sent back and logged.
var (
	ErrTooManyVariables = fmt.Errorf("more than %d variables", MaxVariables)
	ErrNameTooLong      = fmt.Errorf("a variable's name is longer than %d bytes", MaxNameLength)
	ErrNoID             = errors.New("no id: a report names the message that it is about")
	ErrOtherWebhook     = errors.New("this is a call of another webhook")
	ErrCharset          = errors.New("the charset is not known")
)

// NotTakenError is the error of an event of a kind that is not taken.
type NotTakenError struct{ Kind Kind }

func (e *NotTakenError) Error() string { return "type is " + e.Kind.String() + ", which is not taken" }

// Decoder reads calls. The zero value takes failures only.
type Decoder struct {
	// Location is the time zone of a time that names none; nil means UTC.
	Location *time.Location
	// Also are the kinds that are taken beside failures.
	Also []Kind
	// Keep are the variables without a field of their own that are kept whatever else comes.
	Keep []string
	// Key keys the identities, so that nobody without it can try out recipients with one. Without a key anybody can.
	Key []byte
	// Causes tells why deliveries failed; nil has the built-in phrases alone.
	Causes *smtpstatus.Causes
}

// Call is what arrived.
type Call struct {
	Body string
	// Charset is the one that the body's type declares; empty for none.
	Charset string
	// Account is who signed the call; empty when that was not checked.
	Account string
	Arrived time.Time
}

// The variables that have a field of their own, other than tags. They are what a sender repeats when it sends a call again.
const (
	sentType = iota
	sentID
	sentRecipient
	sentTime
	sentTimestamp
	sentAction
	sentState
	sentCode
	sentExtended
	sentDescription
	numSent
)

var sentNames = [...]string{
	sentType: "type", sentID: "id", sentRecipient: "recipient", sentTime: "time", sentTimestamp: "timestamp",
	sentAction: "action", sentState: "state", sentCode: "code", sentExtended: "extended", sentDescription: "description",
}

const tagsName = "tags"

// pathSeparator is between a variable's name and the keys of the arrays that a value is in. No text that was read holds it.
const pathSeparator = "\x00"

// variable is one with all that was said of it.
type variable struct {
	path string
	// index among those with a field of their own, or a negative number.
	index int
	value string
	list  []string
}

// values are the variables of a body. Of a repeated scalar the last one counts, the elements of an array add up, and where a
// name is both, what came last decides which it is. Tags add up, however they are spelled.
type values struct {
	pairs     int
	variables []variable
	tags      []string
	tagPairs  int
	tagScalar bool
}

// newValues has room for what the senders document.
func newValues() *values {
	return &values{variables: make([]variable, 0, numSent+2)}
}

// add adds one value. It is one of several, or has keys, if it is listed.
func (v *values) add(path, value string, listed bool) error {
	if v.pairs++; v.pairs > MaxVariables {
		return ErrTooManyVariables
	}
	if len(path) > MaxNameLength {
		return ErrNameTooLong
	}
	base, _, keyed := strings.Cut(path, pathSeparator)
	switch base {
	case "":
		return nil
	case tagsName:
		v.tagPairs++
		v.tagScalar = !listed && !keyed
		if value != "" {
			v.tags = append(v.tags, value)
		}
		return nil
	}
	at := 0
	for at < len(v.variables) && v.variables[at].path != path {
		at++
	}
	if at == len(v.variables) {
		v.variables = append(v.variables, variable{path: path, index: slices.Index(sentNames[:], base)})
	}
	known := &v.variables[at]
	switch {
	case !listed:
		known.value, known.list = value, nil
	case value != "":
		known.value, known.list = "", append(known.list, value)
	}
	return nil
}

// allTags returns the tags. A lone scalar is a list in the manner of the senders' log files, of which every element is a
// variable too.
func (v *values) allTags() ([]string, error) {
	if v.tagPairs != 1 || !v.tagScalar || len(v.tags) == 0 {
		return v.tags, nil
	}
	var split []string
	for tag := range strings.SplitSeq(v.tags[0], ";") {
		if tag = strings.TrimSpace(tag); tag == "" {
			continue
		}
		if len(split)+v.pairs > MaxVariables {
			return nil, ErrTooManyVariables
		}
		split = append(split, tag)
	}
	return split, nil
}

// reading is an event while its variables are read.
type reading struct {
	*Decoder
	*Event
	// sent are the values that make the identity.
	sent [numSent]string
	// timed reports whether the variable time can be read.
	timed bool
}

// event makes an event of the variables of a body.
func (d *Decoder) event(call *Call, all *values) (*Event, error) {
	r := reading{Decoder: d, Event: &Event{Account: call.Account, Arrived: call.Arrived, Time: call.Arrived}}
	var err error
	if r.Tags, err = all.allTags(); err != nil {
		return nil, err
	}
	var arrays, others []variable
	for i := range all.variables {
		v := &all.variables[i]
		if v.value == "" && v.list == nil {
			continue
		}
		switch {
		case v.index < 0:
			others = append(others, *v)
		case v.list != nil || v.path != sentNames[v.index]:
			arrays = append(arrays, *v)
		default:
			r.sent[v.index] = v.value
		}
	}
	r.ID, r.Recipient, r.Description = r.sent[sentID], r.sent[sentRecipient], r.sent[sentDescription]
	for _, index := range [...]int{sentType, sentAction, sentState} {
		r.sent[index] = strings.ToLower(r.sent[index])
	}
	r.Type, r.Action, r.State = r.sent[sentType], r.sent[sentAction], r.sent[sentState]
	r.readTime()
	r.readStatus()
	for _, v := range arrays {
		r.addArray(&v)
	}
	if r.Kind, err = d.kind(r.sent[sentType], r.sent[sentAction]); err != nil {
		return nil, err
	}
	if r.ID == "" {
		return nil, ErrNoID
	}
	r.addOthers(others)
	r.derive()
	return r.Event, nil
}

// derive sets all that follows from the variables.
func (r *reading) derive() {
	r.Address, r.Domain = parseRecipient(r.Recipient)
	r.Identity = r.identity()
	if !r.Kind.HasRecord() {
		return
	}
	r.readDescription()
	r.Asynchronous = r.State == StateBounce
	r.Class = smtpstatus.Class(r.Extended, r.Code)
	r.Cause, r.DecidedBy = r.Causes.Cause(r.Description, r.Extended, r.Code, r.State)
}

// separator goes between the parts of an array in reading.sent. No text that was read holds this byte.
const separator = "\xff"

// addArray keeps as it came what should be one value and is several. It still tells this event from others.
func (r *reading) addArray(v *variable) {
	name := flat(v.path)
	r.sent[v.index] += separator + name + separator + v.value + strings.Join(v.list, separator)
	r.addVariable(Variable{Name: name, Value: v.value, List: v.list})
	if field := sentNames[v.index]; slices.Contains(AnomalyFields[:], field) {
		r.addAnomaly(field)
	}
}

// unreadable keeps a variable that has a field of its own, but does not fit it.
func (r *reading) unreadable(index int) {
	r.addVariable(Variable{Name: sentNames[index], Value: r.sent[index]})
	r.addAnomaly(sentNames[index])
}

func (r *reading) addAnomaly(field string) {
	if !slices.Contains(r.Anomalies, field) {
		r.Anomalies = append(r.Anomalies, field)
	}
}

// flat returns the name of a variable with dots before its keys. The name of the account is never one that somebody typed.
func flat(path string) string {
	name := strings.ReplaceAll(path, pathSeparator, ".")
	if name == reservedName {
		return unverifiedPrefix + name
	}
	return name
}

const (
	// reservedName is the one variable that would be taken for what the signature vouches for.
	reservedName = "account.id"
	// unverifiedPrefix goes before it.
	unverifiedPrefix = "unverified."
)

// addVariable adds a variable to those that have the same name, as in a.b=1&a[b]=2.
func (r *reading) addVariable(v Variable) {
	at := slices.IndexFunc(r.Variables, func(known Variable) bool { return known.Name == v.Name })
	if at < 0 {
		r.Variables = append(r.Variables, v)
		return
	}
	known := &r.Variables[at]
	known.List = slices.Concat(known.all(), v.all())
	known.Value = ""
}

// all returns the values of a variable, whether it is a scalar or a list.
func (v *Variable) all() []string {
	if v.List == nil {
		return []string{v.Value}
	}
	return v.List
}

// addOthers adds the variables that have no field of their own, as many and as much of each as an event keeps.
func (r *reading) addOthers(others []variable) {
	for _, v := range others {
		r.addVariable(Variable{Name: flat(v.path), Value: v.value, List: v.list})
	}
	if excess := len(r.Variables) - MaxOthers; excess > 0 {
		r.Dropped = excess
		// The last ones go, but for those that are to be kept.
		for i := len(r.Variables) - 1; i >= 0 && excess > 0; i-- {
			if !slices.Contains(r.Keep, r.Variables[i].Name) {
				r.Variables = slices.Delete(r.Variables, i, i+1)
				excess--
			}
		}
		r.Dropped -= excess
	}
	for i := range r.Variables {
		if r.Variables[i].shorten() {
			r.Dropped++
		}
	}
	if r.Dropped > 0 {
		r.addAnomaly(anomalyVariables)
	}
}

// shorten cuts off what is past MaxOtherLength, and reports whether there was any.
func (v *Variable) shorten() bool {
	if v.List == nil {
		whole := len(v.Value)
		v.Value = Cut(v.Value, MaxOtherLength)
		return len(v.Value) < whole
	}
	left := MaxOtherLength
	for i, text := range v.List {
		if len(text) > left {
			v.List = v.List[:i:i]
			if text = Cut(text, left); text != "" {
				v.List = append(v.List, text)
			}
			return true
		}
		left -= len(text)
	}
	return false
}

// Cut returns as many whole characters of a text as fit into so many bytes.
func Cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// HasField reports whether a variable of this name has a field of its own, or is no name.
func HasField(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	return base == "" || base == tagsName || name == reservedName || slices.Contains(sentNames[:], base)
}
