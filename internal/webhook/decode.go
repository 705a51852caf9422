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

// Bounds of a call. The senders' own calls have eleven variables with short names, and the tags.
const (
	// MaxVariables is the number of name-value pairs in a body. Every element of an array is one.
	MaxVariables = 256
	// MaxNameLength is the length in bytes of a variable's name, array keys included.
	MaxNameLength = 1024
	// MaxOthers is the number of variables without a field that an event keeps, and MaxOtherLength
	// the bytes of each: backends refuse larger records as a whole.
	MaxOthers      = 64
	MaxOtherLength = 4096
	// MaxAhead is how far a time may lie after Arrived: more than clocks differ, less than zones.
	MaxAhead = 10 * time.Minute
)

// Errors of a body that is not an event. They are safe to log and to send back: their texts hold
// nothing of the body but words that the senders document.
var (
	ErrTooManyVariables = fmt.Errorf("more than %d variables", MaxVariables)
	ErrNameTooLong      = fmt.Errorf("a variable's name is longer than %d bytes", MaxNameLength)
	ErrNoID             = errors.New("no id: a report names the message that it is about")
	ErrOtherWebhook     = errors.New("this is a call of another webhook")
	ErrCharset          = errors.New("the charset is not known")
)

// NotAcceptedError is the error of an event whose kind the Decoder does not accept.
type NotAcceptedError struct{ Kind Kind }

func (e *NotAcceptedError) Error() string {
	return "type is " + e.Kind.String() + ", which is not accepted"
}

// Decoder reads calls. The zero value accepts failures only.
type Decoder struct {
	Location *time.Location     // of times without a time zone; nil means UTC
	Also     []Kind             // accepted besides failures
	Keep     []string           // variables that are kept before others, see MaxOthers
	Key      []byte             // of keyed identities, which nobody else can try recipients with
	Causes   *smtpstatus.Causes // nil means the built-in phrases
}

// Call is a request as it was received.
type Call struct {
	Body    string
	Charset string // as declared by the content type, or empty
	Account string // that signed the call; empty when signatures are not checked
	Arrived time.Time
}

// The variables with a field of their own in Event, other than tags.
const (
	fieldType = iota
	fieldID
	fieldRecipient
	fieldTime
	fieldTimestamp
	fieldAction
	fieldState
	fieldCode
	fieldExtended
	fieldDescription
	numFields
)

var fieldNames = [...]string{
	fieldType: "type", fieldID: "id", fieldRecipient: "recipient", fieldTime: "time",
	fieldTimestamp: "timestamp", fieldAction: "action", fieldState: "state", fieldCode: "code",
	fieldExtended: "extended", fieldDescription: "description",
}

// Separators that no decoded text contains.
const (
	pathSeparator  = "\x00" // between the name of a variable and its array keys
	arraySeparator = "\xff" // between the elements of an array in eventBuilder.sent
)

// eventBuilder collects the variables of a body, then makes an event of them.
type eventBuilder struct {
	*Decoder
	*Event
	pairs     int
	collected []Variable // named by their paths
	tagPairs  int
	tagScalar bool              // whether the last of tagPairs was a scalar
	sent      [numFields]string // values of the fields
	timed     bool              // whether the variable time could be read
}

func (d *Decoder) newEventBuilder(call *Call) *eventBuilder {
	return &eventBuilder{
		Decoder:   d,
		Event:     &Event{Account: call.Account, Arrived: call.Arrived, Time: call.Arrived},
		collected: make([]Variable, 0, numFields+2),
	}
}

// add adds a scalar or, if listed, an element of an array. The last of repeated scalars wins,
// elements add up, and where a path is both, its last occurrence decides.
func (b *eventBuilder) add(path, value string, listed bool) error {
	if b.pairs++; b.pairs > MaxVariables {
		return ErrTooManyVariables
	}
	if len(path) > MaxNameLength {
		return ErrNameTooLong
	}
	switch base, _, keyed := strings.Cut(path, pathSeparator); base {
	case "":
		return nil
	case "tags":
		b.tagPairs++
		b.tagScalar = !listed && !keyed
		if value != "" {
			b.Tags = append(b.Tags, value)
		}
		return nil
	}
	known := find(b.collected, path)
	if known == nil {
		b.collected = append(b.collected, Variable{Name: path})
		known = &b.collected[len(b.collected)-1]
	}
	switch {
	case !listed:
		known.Value, known.List = value, nil
	case value != "":
		known.Value, known.List = "", append(known.List, value)
	}
	return nil
}

// splitTags splits a single scalar at semicolons, as in the senders' log files.
func (b *eventBuilder) splitTags() error {
	if b.tagPairs != 1 || !b.tagScalar || len(b.Tags) == 0 {
		return nil
	}
	tags := strings.SplitSeq(b.Tags[0], ";")
	b.Tags = nil
	for tag := range tags {
		if tag = strings.TrimSpace(tag); tag == "" {
			continue
		}
		if len(b.Tags)+b.pairs > MaxVariables {
			return ErrTooManyVariables
		}
		b.Tags = append(b.Tags, tag)
	}
	return nil
}

func (b *eventBuilder) event() (*Event, error) {
	if err := b.splitTags(); err != nil {
		return nil, err
	}
	var arrays, others []Variable
	for _, v := range b.collected {
		switch field := fieldOf(v.Name); {
		case v.Value == "" && v.List == nil:
		case field < 0:
			others = append(others, v)
		case v.List != nil || v.Name != fieldNames[field]:
			arrays = append(arrays, v)
		default:
			b.sent[field] = v.Value
		}
	}
	for _, field := range [...]int{fieldType, fieldAction, fieldState} {
		b.sent[field] = strings.ToLower(b.sent[field])
	}
	b.ID, b.Recipient, b.Description = b.sent[fieldID], b.sent[fieldRecipient], b.sent[fieldDescription]
	b.Type, b.Action, b.State = b.sent[fieldType], b.sent[fieldAction], b.sent[fieldState]
	b.readTime()
	b.readStatus()
	for _, v := range arrays {
		b.addArray(v)
	}
	var err error
	if b.Kind, err = b.kind(b.sent[fieldType], b.sent[fieldAction]); err != nil {
		return nil, err
	}
	if b.ID == "" {
		return nil, ErrNoID
	}
	b.addOthers(others)
	b.derive()
	return b.Event, nil
}

// fieldOf returns the index in fieldNames of what a path begins with, or -1.
func fieldOf(path string) int {
	base, _, _ := strings.Cut(path, pathSeparator)
	return slices.Index(fieldNames[:], base)
}

// derive sets the fields that follow from other fields.
func (b *eventBuilder) derive() {
	b.Address, b.Domain = parseRecipient(b.Recipient)
	b.Identity = b.identity()
	if !b.Kind.HasRecord() {
		return
	}
	b.readDescription()
	b.Mode = ModeSynchronous
	if b.State == stateBounce {
		b.Mode = ModeAsynchronous
	}
	b.Class = smtpstatus.Class(b.Extended, b.Code)
	b.Cause, b.DecidedBy = b.Causes.Cause(b.Description, b.Extended, b.Code, b.State)
}

// addArray keeps an array in place of a field's one value. It counts in the identity all the same.
func (b *eventBuilder) addArray(v Variable) {
	field, name := fieldOf(v.Name), strings.ReplaceAll(v.Name, pathSeparator, ".")
	b.sent[field] += arraySeparator + name + arraySeparator + v.Value + strings.Join(v.List, arraySeparator)
	b.addVariable(v)
	if slices.Contains(AnomalyFields[:], fieldNames[field]) {
		b.addAnomaly(fieldNames[field])
	}
}

// addUnreadable keeps the value of a field that cannot be read.
func (b *eventBuilder) addUnreadable(field int) {
	b.addVariable(Variable{Name: fieldNames[field], Value: b.sent[field]})
	b.addAnomaly(fieldNames[field])
}

func (b *eventBuilder) addAnomaly(field string) {
	if !slices.Contains(b.Anomalies, field) {
		b.Anomalies = append(b.Anomalies, field)
	}
}

// verifiedAccount is not for variables: its attribute has the account that signed the call.
const verifiedAccount = "account.id"

// addVariable adds a variable by its flat name. Those of one name (a.b=1&a[b]=2) become a list.
func (b *eventBuilder) addVariable(v Variable) {
	if v.Name = strings.ReplaceAll(v.Name, pathSeparator, "."); v.Name == verifiedAccount {
		v.Name = "unverified." + v.Name
	}
	known := find(b.Variables, v.Name)
	if known == nil {
		b.Variables = append(b.Variables, v)
		return
	}
	known.List = slices.Concat(known.all(), v.all())
	known.Value = ""
}

// addOthers adds the variables without a field, within MaxOthers and MaxOtherLength.
func (b *eventBuilder) addOthers(others []Variable) {
	for _, v := range others {
		b.addVariable(v)
	}
	for i := len(b.Variables) - 1; i >= 0 && len(b.Variables) > MaxOthers; i-- {
		if !slices.Contains(b.Keep, b.Variables[i].Name) {
			b.Variables = slices.Delete(b.Variables, i, i+1)
			b.Dropped++
		}
	}
	for i := range b.Variables {
		if b.Variables[i].shorten() {
			b.Dropped++
		}
	}
	if b.Dropped > 0 {
		b.addAnomaly("variables")
	}
}

// shorten cuts off what is past MaxOtherLength, and reports whether there was any.
func (v *Variable) shorten() bool {
	left := MaxOtherLength
	for i, text := range v.all() {
		if len(text) <= left {
			left -= len(text)
			continue
		}
		text = Cut(text, left)
		switch {
		case v.List == nil:
			v.Value = text
		case text == "":
			v.List = v.List[:i]
		default:
			v.List = append(v.List[:i], text)
		}
		return true
	}
	return false
}

// Cut returns the whole characters of a text that fit into so many bytes.
func Cut(text string, maxBytes int) string {
	if len(text) <= maxBytes {
		return text
	}
	for !utf8.RuneStart(text[maxBytes]) {
		maxBytes--
	}
	return text[:maxBytes]
}

// HasField reports whether a variable of this name has a field of its own, or cannot exist.
func HasField(name string) bool {
	base, _, _ := strings.Cut(name, ".")
	return base == "" || base == "tags" || name == verifiedAccount || slices.Contains(fieldNames[:], base)
}
