package webhook

import (
	"fmt"
	"slices"
)

// Kind is a kind of event, each of which the senders have a webhook for.
type Kind int

// The kinds of events.
const (
	Failure Kind = iota
	Delivery
)

// kinds is the one place that tells the kinds apart.
var kinds = [...]struct {
	// word is what the variable type says.
	word string
	// record reports whether it makes a log record, for which the cause is looked for.
	record bool
}{
	Failure:  {word: "failure", record: true},
	Delivery: {word: "delivery"},
}

// Kinds returns all kinds.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// String returns the word of the kind.
func (k Kind) String() string { return kinds[k].word }

// HasRecord reports whether an event of the kind makes a log record.
func (k Kind) HasRecord() bool { return kinds[k].record }

// otherWebhooks are those that the senders document beside the kinds, by what their type says: for what they are called.
// The last three came with an action and without a type before 2019, and Publisher's callbacks still do.
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

// kind returns the kind that type and action say, or an error for a call that is not taken.
func (d *Decoder) kind(typ, action string) (Kind, error) {
	switch {
	case typ == "" && (action == "" || action == "failure" || action == "failed"):
		return Failure, nil
	case typ == "":
		return 0, otherWebhook("there is no type, and action", action, "neither failure nor failed")
	}
	for i := range kinds {
		k := Kind(i)
		if typ != k.String() {
			continue
		}
		if k != Failure && !slices.Contains(d.Also, k) {
			return 0, &NotTakenError{Kind: k}
		}
		return k, nil
	}
	return 0, otherWebhook("type", typ, "not "+Failure.String())
}

// otherWebhook returns the error of a variable that says another webhook's word, or one that nobody knows.
func otherWebhook(variable, word, unknown string) error {
	if subject, ok := otherWebhooks[word]; ok {
		return fmt.Errorf("%s is %s: %w, that for %s", variable, word, ErrOtherWebhook, subject)
	}
	return fmt.Errorf("%s is %s: %w", variable, unknown, ErrOtherWebhook)
}
