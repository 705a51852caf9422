package webhook

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/smtpfailure/opentelemetry-collector-smtpfailure/internal/smtpstatus"
)

// Bounds of a report. The senders' own have eleven variables with short names, and the tags.
const (
	// MaxVariables is the number of name-value pairs that a report may have. Every element of an array is one.
	MaxVariables = 256
	// MaxNameLength is the number of bytes that the name of a variable may have, with the keys of the arrays it stands in.
	MaxNameLength = 1024
)

// Errors of a body that is no failure report. None of their texts holds anything of the body, so that they are fit to be sent back and logged.
var (
	ErrTooManyVariables = fmt.Errorf("more than %d variables", MaxVariables)
	ErrNameTooLong      = fmt.Errorf("a variable's name is longer than %d bytes", MaxNameLength)
	ErrNoID             = errors.New("no id: a failure report names the message that failed")
	ErrOtherType        = errors.New("type is not failure: this is a report of another webhook")
)

// Decoder reads calls. The zero value is ready to use.
type Decoder struct {
	// Location is the time zone of the variable timestamp, which names none; nil means UTC.
	Location *time.Location
	// Key keys the identities, so that nobody without it can try out recipients with one. Without a key anybody can.
	Key []byte
	// Causes tells why deliveries failed; nil has the built-in phrases alone.
	Causes *smtpstatus.Causes
}

// Call is what arrived.
type Call struct {
	Body string
	// Account is who signed the call; empty when that was not checked.
	Account string
	Arrived time.Time
}

// leaf is one value of a body with its place in it.
type leaf struct {
	// name is the flat one, which begins with the variable's own: parameters[k] has the name "parameters.k".
	name, value string
	// base is the length of the variable's own name, variable where it belongs: in one of reading.sent, or in variableTags or variableOther.
	base     int32
	variable int8
	// list says that the value is one of several: interests[]=, or an element of a JSON array.
	list bool
}

// Variables that are not in reading.sent.
const (
	variableTags = numSent + iota
	variableOther
)

// newLeaf returns one without a value. The name begins with the base.
func newLeaf(base, name string, list bool) leaf {
	return leaf{name: name, base: int32(len(base)), variable: variableOf(base), list: list}
}

// leaves are the values of a body in the order of arrival.
type leaves []leaf

// roomForLeaves is what a report has at most as the senders document it, with some tags. So many are kept on the stack.
const roomForLeaves = 16

func (ls leaves) add(l leaf) (leaves, error) {
	if len(ls) == MaxVariables {
		return ls, ErrTooManyVariables
	}
	if len(l.name) > MaxNameLength {
		return ls, ErrNameTooLong
	}
	return append(ls, l), nil
}

// texts makes the texts of a body that differ from what was sent: one piece of memory for all of them, to which bytes are only ever added.
type texts struct{ all []byte }

// begin returns where the next text begins. When it is the first, there is room for so many bytes from then on.
func (t *texts) begin(size int) int {
	if t.all == nil {
		t.all = make([]byte, 0, size)
	}
	return len(t.all)
}

// since returns the text that began there.
func (t *texts) since(begin int) string {
	text := t.all[begin:]
	// As strings.Builder does it, which takes longer to add a byte.
	//nolint:gosec // Bytes that were added are never changed.
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// event makes an event of the values of a body.
func (d *Decoder) event(call *Call, all leaves) (*Event, error) {
	r := reading{Decoder: d, Event: Event{Account: call.Account, Arrived: call.Arrived, Time: call.Arrived}}
	var err error
	if r.Tags, err = tags(all); err != nil {
		return nil, err
	}
	if all.plain() {
		for i := range all {
			if l := &all[i]; l.variable < numSent && l.value != "" {
				r.setScalar(l.variable, Variable{Name: l.name, Value: l.value})
			}
		}
	} else {
		var room [roomForLeaves]variable
		for _, v := range variables(all, room[:0]) {
			r.set(&v)
		}
	}
	// A type that is an array is no type either.
	if kind := r.sent[sentType]; kind != "" && kind != Failure.String() {
		return nil, ErrOtherType
	}
	if r.ID == "" {
		return nil, ErrNoID
	}
	r.derive()
	return &r.Event, nil
}

// reading is an event while its variables are read.
type reading struct {
	*Decoder
	Event
	// sent are the values that make the identity, as they were sent.
	sent [numSent]string
	// timed reports whether Time is that of the variable time.
	timed bool
}

// derive sets all that follows from the variables.
func (r *reading) derive() {
	r.Asynchronous = r.State == StateBounce
	if at := strings.LastIndexByte(r.Recipient, '@'); at >= 0 {
		r.Domain = strings.ToLower(r.Recipient[at+1:])
	}
	r.Identity = r.identity()
	if r.Kind.HasRecord() {
		r.Class = smtpstatus.Class(r.Extended, r.Code)
		r.Cause, r.DecidedBy = r.Causes.Cause(r.Description, r.Extended, r.Code, r.State)
	}
}

// The variables in reading.sent. They are the ones that a sender repeats when it sends a call again.
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

// plain says that there is nothing to fold: each of the values, other than tags, is a variable in reading.sent, comes once and is no array. So are
// the reports that the senders document.
func (ls leaves) plain() bool {
	var seen uint
	for i := range ls {
		l := &ls[i]
		if l.variable == variableTags {
			continue
		}
		if l.variable == variableOther || l.list || len(l.name) > int(l.base) || seen&(1<<l.variable) != 0 {
			return false
		}
		seen |= 1 << l.variable
	}
	return true
}

// tags adds up the tags of a body, however it spells them. A lone scalar is a list in the manner of the sender's log files, of which every
// element is a variable too.
func tags(all leaves) ([]string, error) {
	var found []string
	count, scalar := 0, false
	for i := range all {
		l := &all[i]
		if l.variable != variableTags {
			continue
		}
		count++
		scalar = !l.list && len(l.name) == int(l.base)
		if l.value == "" {
			continue
		}
		if found == nil {
			found = make([]string, 0, len(all)-i)
		}
		found = append(found, l.value)
	}
	if count != 1 || !scalar || len(found) == 0 {
		return found, nil
	}
	var split []string
	for tag := range strings.SplitSeq(found[0], ";") {
		if tag = strings.TrimSpace(tag); tag == "" {
			continue
		}
		if len(split)+len(all) > MaxVariables {
			return nil, ErrTooManyVariables
		}
		split = append(split, tag)
	}
	return split, nil
}

// variable is one with its place.
type variable struct {
	Variable
	base int32
	of   int8
}

// variables folds the values of a body, other than tags, into one variable for each name. Of a repeated scalar the last one counts, the
// elements of an array add up, and where a name is both, what came last decides which it is. Empty ones are left out. They are appended
// to vars, which is empty.
func variables(all leaves, vars []variable) []variable {
	for i := range all {
		l := &all[i]
		if l.variable == variableTags || l.name == "" {
			continue
		}
		at := slices.IndexFunc(vars, func(v variable) bool { return v.Name == l.name })
		if at < 0 {
			at = len(vars)
			vars = append(vars, variable{Variable: Variable{Name: l.name}, base: l.base, of: l.variable})
		}
		v := &vars[at]
		switch {
		case !l.list:
			v.Value, v.List = l.value, nil
		case l.value != "":
			v.Value, v.List = "", append(v.List, l.value)
		}
	}
	return slices.DeleteFunc(vars, func(v variable) bool { return v.Value == "" && v.List == nil })
}

// separator goes between the parts of an array in reading.sent. No text that was decoded holds this byte.
const separator = "\xff"

// set puts a variable where it belongs in the event.
func (r *reading) set(v *variable) {
	if v.of == variableOther {
		r.Variables = append(r.Variables, v.Variable)
		return
	}
	if v.List != nil || len(v.Name) > int(v.base) {
		// What should be one value and is several is kept as it came, and still tells this report from others.
		r.sent[v.of] += separator + v.Name + separator + v.Value + strings.Join(v.List, separator)
		r.unreadable(v.of, v.Name[:v.base], v.Variable)
		return
	}
	r.setScalar(v.of, v.Variable)
}

// setScalar puts a variable in its field, or among the others if it does not fit.
func (r *reading) setScalar(index int8, v Variable) {
	if r.sent[index] == "" {
		r.sent[index] = v.Value
	} else {
		r.sent[index] += v.Value
	}

	ok := true
	switch index {
	case sentType:
		r.Type = v.Value
	case sentID:
		r.ID = v.Value
	case sentRecipient:
		r.Recipient = v.Value
	case sentAction:
		r.Action = v.Value
	case sentState:
		r.State = v.Value
	case sentDescription:
		r.Description = v.Value
	case sentCode:
		r.Code, ok = smtpstatus.ParseCode(v.Value)
	case sentExtended:
		r.Extended, ok = smtpstatus.ParseEnhanced(v.Value)
	case sentTime:
		var at time.Time
		if at, ok = parseTime(v.Value); ok {
			r.Time, r.timed = at, true
		}
	case sentTimestamp:
		var at time.Time
		// Whichever comes first, time wins.
		if at, ok = r.parseTimestamp(v.Value); ok && !r.timed {
			r.Time = at
		}
	}
	if !ok {
		r.unreadable(index, v.Name, v)
	}
}

// unreadable keeps a variable that has a field of its own, by that name, but does not fit it.
func (r *reading) unreadable(index int8, name string, v Variable) {
	r.Variables = append(r.Variables, v)
	switch index {
	case sentCode, sentExtended, sentTime, sentTimestamp:
		if !slices.Contains(r.Anomalies, name) {
			r.Anomalies = append(r.Anomalies, name)
		}
	}
}

func variableOf(name string) int8 {
	switch name {
	case "type":
		return sentType
	case "id":
		return sentID
	case "recipient":
		return sentRecipient
	case "time":
		return sentTime
	case "timestamp":
		return sentTimestamp
	case "action":
		return sentAction
	case "state":
		return sentState
	case "code":
		return sentCode
	case "extended":
		return sentExtended
	case "description":
		return sentDescription
	case "tags":
		return variableTags
	}
	return variableOther
}

// parseTime reads Unix seconds. Zero is what an unset time looks like, and past 2262 nanoseconds overflow (a time in milliseconds does).
func parseTime(s string) (time.Time, bool) {
	seconds, err := strconv.ParseUint(s, 10, 63)
	if err != nil || seconds == 0 || seconds >= math.MaxInt64/uint64(time.Second) {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}

// parseTimestamp reads YYYY-MM-DD HH:MM:SS in the decoder's time zone.
func (d *Decoder) parseTimestamp(s string) (time.Time, bool) {
	location := d.Location
	if location == nil {
		location = time.UTC
	}
	at, ok := parseDateTime(s, location)
	if !ok {
		return time.Time{}, false
	}
	if unix := at.Unix(); unix <= 0 || unix >= math.MaxInt64/int64(time.Second) {
		return time.Time{}, false
	}
	return at.UTC(), true
}

// parseDateTime reads time.DateTime. Where all digits are in their places it does without time.Parse, which goes
// through the layout each time.
func parseDateTime(s string, location *time.Location) (time.Time, bool) {
	// The length keeps out fractions of a second, which time.Parse takes where the layout has none.
	if len(s) != len(time.DateTime) {
		return time.Time{}, false
	}
	year, month, day := digits(s[:4]), time.Month(digits(s[5:7])), digits(s[8:10])
	hour, minute, second := digits(s[11:13]), digits(s[14:16]), digits(s[17:])
	if s[4] == '-' && s[7] == '-' && s[10] == ' ' && s[13] == ':' && s[16] == ':' && year >= 0 && time.January <= month && month <= time.December &&
		0 <= hour && hour < 24 && 0 <= minute && minute < 60 && 0 <= second && second < 60 {
		// A day that the month does not have is another one in time.Date.
		if at := time.Date(year, month, day, hour, minute, second, 0, time.UTC); at.Day() == day {
			if location != time.UTC {
				at = time.Date(year, month, day, hour, minute, second, 0, location)
			}
			return at, true
		}
	}
	at, err := time.ParseInLocation(time.DateTime, s, location)
	return at, err == nil
}

// digits reads a number that is digits and nothing else; it is negative if s is not.
func digits(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// validText returns s with every byte that is not part of valid UTF-8 read as Latin-1.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			b.WriteRune(rune(s[0]))
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}
