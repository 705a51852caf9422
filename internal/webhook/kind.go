package webhook

import (
	"fmt"
	"slices"
)

// Kind is a kind of event, which the senders have a webhook for.
type Kind int

// The kinds of events.
const (
	Failure Kind = iota
	Delivery
)

var kinds = [...]struct {
	name   string // value of the variable type
	record bool   // whether events make log records
}{
	Failure:  {name: "failure", record: true},
	Delivery: {name: "delivery"},
}

// String returns the value of the variable type.
func (k Kind) String() string { return kinds[k].name }

// HasRecord reports whether events of the kind make log records.
func (k Kind) HasRecord() bool { return kinds[k].record }

// otherWebhooks are the senders' other webhooks by type. Before 2019, and in Publisher's callbacks
// still, the last three have an action in place of a type.
var otherWebhooks = map[string]string{
	"abuse":       "complaints",
	"bounce":      "bounces",
	"click":       "clicks",
	"open":        "opened messages",
	"unsubscribe": "unsubscriptions",
	"create":      "new profiles",
	"update":      "changed profiles",
	"delete":      "deleted profiles",
}

// kind returns the kind of an event with this type and action, or why it is not accepted.
func (d *Decoder) kind(typ, action string) (Kind, error) {
	if typ == "" {
		switch action {
		case "", "failure", "failed":
			return Failure, nil
		}
		return 0, otherWebhook("there is no type, and action", action, "neither failure nor failed")
	}
	for i := range kinds {
		k := Kind(i)
		switch {
		case typ != k.String():
		case k == Failure || slices.Contains(d.Also, k):
			return k, nil
		default:
			return 0, &NotAcceptedError{Kind: k}
		}
	}
	return 0, otherWebhook("type", typ, "not "+Failure.String())
}

// otherWebhook returns an error that repeats a value only if the senders document it.
func otherWebhook(variable, value, unknown string) error {
	if subject, ok := otherWebhooks[value]; ok {
		return fmt.Errorf("%s is %s: %w, that for %s", variable, value, ErrOtherWebhook, subject)
	}
	return fmt.Errorf("%s is %s: %w", variable, unknown, ErrOtherWebhook)
}
